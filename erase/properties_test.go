package erase

import (
	"testing"
	"time"

	"slatefs/chain/property"
)

// Defaults are canonical, and what the window's property takes ParseWindow reads.
func TestProperties(t *testing.T) {
	for _, p := range Properties {
		if got, err := p.Parse(p.Default, property.OnPool); err != nil || got != p.Default {
			t.Errorf("%s: the default %q is %q, %v", p.Name, p.Default, got, err)
		}
	}
	window, err := Properties.Named(PropWindow)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"01:00-05:00": "01:00-05:00", "22:00-24:00": "22:00-00:00", "none": "none", "24:00-01:00": "", "05:00-05:00": "", "00:00-24:00": "", "1-2": "",
	} {
		got, err := window.Parse(text, property.OnPool)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s is %q, %v, want %q", text, got, err, want)
		}
		if _, err := ParseWindow(got, time.UTC); want != "" && err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}
