package control

import "encoding/json"

// request is the line of a client: it asks for one operation.
type request struct {
	Op    string          `json:"op"`
	Args  json.RawMessage `json:"args"`
	Actor string          `json:"actor,omitempty"` // for whom, as the caller says
}

// reply is a line of the answer: an event, or at last an error or a result.
type reply struct {
	Event  json.RawMessage `json:"event,omitempty"`
	Error  *Error          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}
