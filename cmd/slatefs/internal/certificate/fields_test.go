package certificate

import (
	"errors"
	"strings"
	"testing"
)

func TestFields(t *testing.T) {
	var f Fields
	err := f.Template(strings.NewReader("# who\norganization = Example GmbH\n\nname=Ada=Muster\n"))
	if err != nil || f.Organization != "Example GmbH" || f.Name != "Ada=Muster" {
		t.Errorf("%+v, %v", f, err)
	}
	err = f.Template(strings.NewReader(` {"name": "Bo", "phone": "1"}`))
	if err != nil || f.Name != "Bo" || f.Phone != "1" || f.Organization == "" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, bad := range []string{
		"colour=red", "name", "name=" + strings.Repeat("x", maxField+1), "name=\xe9", `{"name": 1}`, `{"colour": "red"}`, "{",
		"#" + strings.Repeat("x", maxTemplate),
	} {
		if err := f.Template(strings.NewReader(bad)); !errors.Is(err, ErrField) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}
