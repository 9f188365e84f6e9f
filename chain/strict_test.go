package chain

// In these tests a record that was not reserved ends the process.
func init() { strictRoom = true }
