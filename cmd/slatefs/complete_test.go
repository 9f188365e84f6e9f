package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// offered are the words that a shell is offered, without what is said about them, and the directive.
func (l *lab) offered(line string) (texts []string, directive string) {
	l.t.Helper()
	for text := range strings.Lines(l.ok("__complete " + line)) {
		text, _, _ = strings.Cut(strings.TrimSuffix(text, "\n"), "\t")
		texts = append(texts, text)
	}
	last := len(texts) - 1
	return texts[:last], texts[last]
}

// The directives that matter here, as cobra's scripts read them.
const (
	byShell = ":0" // the shell offers files
	noBlank = ":6"
	noFiles = ":4"
	dirs    = ":16"
)

// Every command offers what it can be given, as it is there.
func TestComplete(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.ok("create --size 1M /lab/a.raw /lab/b.raw /lab/d/c.raw")
	l.ok("snapshot /lab/a.raw@one")
	l.ok("snapshot /lab/a.raw@two")
	l.ok("set destroy_delay=1h lab")
	l.ok("create --size 1M /lab/gone.raw")
	l.ok("destroy /lab/gone.raw")
	l.ok("set erase_paused=on lab")
	l.write("b.raw", 0, 16, 1)
	l.ok("destroy --now /lab/b.raw")
	if err := l.app.host.Register(host.Known{UUID: uuid.UUID{7}, Name: "other", Device: "/nowhere/other"}); err != nil {
		t.Fatal(err)
	}
	kept := strings.TrimSpace(l.ok("list -H -o id -t destroyed lab"))
	jobs, err := control.Jobs.Call(t.Context(), l.live, control.None{})
	if err != nil || len(jobs.Jobs) != 1 {
		t.Fatalf("jobs: %+v, %v", jobs.Jobs, err)
	}
	job := strconv.FormatUint(jobs.Jobs[0].ID, 10)

	for line, want := range map[string]string{
		"pool create x ":                    byShell,
		"pool create -o erase_p":            "erase_paused= " + noBlank,
		"pool create -o erase_paused=":      "erase_paused=on erase_paused=off " + noFiles,
		"pool list ":                        noFiles,
		"pool status ":                      "lab other " + byShell,
		"pool status lab o":                 "other " + byShell,
		"pool status /":                     "/lab " + byShell,
		"pool check ":                       "lab other " + byShell,
		"pool dump l":                       "lab " + byShell,
		"pool extend ":                      "lab other " + byShell,
		"pool extend lab ":                  noFiles,
		"pool reduce ":                      "lab other " + byShell,
		"pool import ":                      noFiles,
		"pool import -d ":                   dirs,
		"pool rename ":                      "other " + byShell,
		"pool reguid ":                      byShell,
		"pool forget ":                      "other " + byShell,
		"pool destroy ":                     "other " + byShell,
		"mount ":                            "other " + byShell,
		"mount other ":                      dirs,
		"mount -o tr":                       "transport=auto transport=loop transport=classic " + noFiles,
		"mount -o ro,verify=s":              "ro,verify=sample " + noFiles,
		"mount -o ro,r":                     "ro,readers= ro,rw " + noFiles,
		"umount ":                           "lab " + noFiles,
		"umount /":                          "/lab " + noFiles,
		"create ":                           "/lab/ :2",
		"create /lab/":                      "/lab/d/ " + noBlank,
		"create -o ref":                     "refreservation= refquota= " + noBlank,
		"snapshot /lab/":                    "/lab/d/ /lab/a.raw@ " + noBlank,
		"rollback /lab/":                    "/lab/d/ /lab/a.raw@one /lab/a.raw@two " + noFiles,
		"rollback /lab/a.raw@o":             "/lab/a.raw@one " + noFiles,
		"clone /lab/a":                      "/lab/a.raw /lab/a.raw@one /lab/a.raw@two " + noFiles,
		"clone /lab/a.raw /lab/":            "/lab/d/ " + noBlank,
		"destroy /lab/d/":                   "/lab/d/c.raw " + noFiles,
		"destroy /lab/a.raw@":               "/lab/a.raw@one /lab/a.raw@two " + noFiles,
		"destroy /lab/a.raw@one,":           "/lab/a.raw@one,two " + noFiles,
		"undestroy ":                        kept + " " + noFiles,
		"undestroy " + kept + " ":           "lab " + noFiles,
		"rename /lab/a.raw@":                "/lab/a.raw@one /lab/a.raw@two " + noFiles,
		"resize /lab/":                      "/lab/d/ /lab/a.raw " + noFiles,
		"resize /lab/a.raw ":                noFiles,
		"list ":                             "/lab/ lab :0",
		"list /lab/a":                       "/lab/a.raw /lab/a.raw@one /lab/a.raw@two " + noFiles,
		"list -o us":                        "used usedbysnapshots usedbydataset usedbyrefreservation usedbychildren userrefs " + noFiles,
		"list -o name,usedb":                "name,usedbysnapshots name,usedbydataset name,usedbyrefreservation name,usedbychildren " + noFiles,
		"list -s dest":                      "destroyed " + noFiles,
		"list -S cre":                       "creation " + noFiles,
		"list -t volume,s":                  "volume,snapshot " + noFiles,
		"tree /lab/a":                       "/lab/a.raw " + noFiles,
		"get a":                             "autoextend_threshold autoextend_percent autosnap autoextend_max available all " + noFiles,
		"get quota,refq":                    "quota,refquota " + noFiles,
		"get -o name,v":                     "name,value " + noFiles,
		"get quota /lab/a":                  "/lab/a.raw /lab/a.raw@one /lab/a.raw@two " + noFiles,
		"set erase_m":                       "erase_method= " + noBlank,
		"set erase_method=":                 "erase_method=auto erase_method=zeroout erase_method=unmap erase_method=overwrite erase_method=release " + noFiles,
		"set erase_verify=s":                "erase_verify=sample " + noFiles,
		"set refreservation=":               "refreservation=auto refreservation=none " + noFiles,
		"set quota=1G la":                   "lab :0",
		"set quota=1G /lab/a":               "/lab/a.raw " + noFiles,
		"set quota=1G /lab/a.raw q":         ":0",
		"inherit refq":                      "refquota " + noFiles,
		"inherit quota /lab/a":              "/lab/a.raw " + noFiles,
		"erase status ":                     "lab " + noFiles,
		"erase wait ":                       job + " lab " + noFiles,
		"erase first ":                      job + " " + noFiles,
		"erase first " + job + " ":          "lab " + noFiles,
		"erase log ":                        "lab " + noFiles,
		"erase log --export ":               byShell,
		"erase certificate " + job + " lab": "lab " + byShell,
		"erase pause ":                      "lab " + noFiles,
		"erase resume ":                     "lab " + noFiles,
		"erase audit ":                      "lab " + noFiles,
	} {
		texts, directive := l.offered(line)
		slices.Sort(texts)
		words := strings.Fields(want)
		slices.Sort(words[:len(words)-1])
		if got := append(texts, directive); !slices.Equal(got, words) {
			t.Errorf("%s offers\n%q, want\n%q", line, got, words)
		}
	}
}

// What is in the table is there, and what is there is in the table: a command with arguments, a flag with a value.
func TestCompletionsAreAll(t *testing.T) {
	a := &app{host: testHost(t)}
	table := completions()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		name := strings.TrimPrefix(cmd.CommandPath(), "slatefs ")
		if cmd.HasSubCommands() || strings.HasPrefix(name, "completion ") || name == "help" || strings.HasPrefix(name, "__") {
			return
		}
		c, ok := table[name]
		if !ok {
			t.Errorf("%s completes nothing", name)
		}
		delete(table, name)
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "bool" && c.flags[f.Name] == nil {
				t.Errorf("%s --%s completes nothing", name, f.Name)
			}
			delete(c.flags, f.Name)
		})
		for flag := range c.flags {
			t.Errorf("%s has no flag --%s", name, flag)
		}
	}
	walk(a.root())
	for name := range table {
		t.Errorf("there is no command %s", name)
	}
}

// Names that would do something to a terminal, or to the protocol between cobra and a shell, are not offered; others are, whatever
// a shell would make of them.
func TestCompletedNames(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"\x1b[31mred", "two\nlines", "tab\tbed", "caf\xe9", `back\slash`, "trailing\u00a0", "a$(id)", "a;b", "ünï", "-dash"} {
		if _, err := l.pool.Create(chain.Req{}, chain.RootIno, name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, _ := l.offered("destroy /lab/")
	slices.Sort(texts)
	if want := []string{"/lab/-dash", "/lab/a$(id)", "/lab/a;b", "/lab/ünï"}; !slices.Equal(texts, want) {
		t.Errorf("offered are %q, want %q", texts, want)
	}
}

// A daemon that does not answer, and a table of mounts that is not read, hold no shell.
func TestCompletionEnds(t *testing.T) {
	l := newLab(t)
	deaf := l.live
	deaf.Socket = filepath.Join(t.TempDir(), "deaf.sock")
	ln, err := net.Listen("unix", deaf.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c := &completion{app: l.app, word: "/lab/"}
	if c.find, err = l.app.finder(); err != nil {
		t.Fatal(err)
	}
	for i := range c.find.Live {
		c.find.Live[i] = deaf
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	c.ctx = ctx
	if list := append(volumes(c), jobs(c)...); len(list) > 0 {
		t.Errorf("a daemon that says nothing offers %v", list)
	}

	hold := make(chan struct{})
	defer close(hold)
	stuck := func(*completion) []offer {
		<-hold
		return nil
	}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	l.app.completeWithin = time.Millisecond
	if texts, directive := l.app.completeWord(stuck)(cmd, nil, ""); len(texts) > 0 || directive != cobra.ShellCompDirectiveNoFileComp {
		t.Errorf("what never ends offers %v, %v", texts, directive)
	}
}

// Bash takes FILE@NAME as one word, whose part before the @ it has already.
func TestBashKeepsSnapshotsWhole(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("!!! NOT TESTED: there is no bash: ", err)
	}
	l := newLab(t)
	script := filepath.Join(t.TempDir(), "slatefs")
	text := l.ok("completion bash")
	if strings.Contains(text, "-n =:\n") || strings.Count(text, "-n =:@") != 2 {
		t.Fatalf("the script is not what was to be changed:\n%s", text)
	}
	// What bash-completion's _init_completion makes of the line, and a slatefs that says what it was asked.
	text += `
_init_completion() { [ "$2" = =:@ ] || exit 9; words=(slatefs rollback /lab/a.raw@o); cur=/lab/a.raw@o; prev=rollback; cword=2; }
slatefs() { printf '%s\n' /lab/a.raw@one /lab/a.raw@other :4; echo "$@" >&3; }
__start_slatefs 3>"$0.asked"
printf '<%s>' "${COMPREPLY[@]}"
`
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bash, "--norc", "-c", `COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'; . "$0"`, script)
	out, err := cmd.Output()
	if err != nil || string(out) != "<one><other>" {
		t.Errorf("bash completes %q: %v", out, err)
	}
	asked, err := os.ReadFile(script + ".asked")
	if err != nil || string(asked) != "__complete rollback /lab/a.raw@o\n" {
		t.Errorf("bash asks for %q: %v", asked, err)
	}
}
