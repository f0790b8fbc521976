package config

import (
	"fmt"
	"strings"
)

// Fault says what is wrong with one variable and what to do. Of values it holds
// only the names in CONNECTOR_SOURCES.
type Fault struct {
	Variable string `json:"variable"`
	Message  string `json:"message"`
}

// Error holds every fault of a configuration; the program must not start.
type Error struct{ Faults []Fault }

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "configuration has %d fault(s):", len(e.Faults))
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n  %s: %s", f.Variable, f.Message)
	}
	return b.String()
}

// Faults collects what is wrong with the variables of one section. Sections
// name variables without their prefix.
type Faults struct {
	prefix string
	list   *[]Fault        // of all sections
	unread map[string]bool // full names of variables whose value could not be taken
}

// Add reports that variable breaks a rule. Each %s in message stands for the
// full name of the next of others, the other variables the rule is about. A
// rule about a variable that is at fault already is dropped: its value is not known.
func (f *Faults) Add(variable, message string, others ...string) {
	variable = f.prefix + "_" + variable
	if f.unread[variable] {
		return
	}
	for _, other := range others {
		other = f.prefix + "_" + other
		if f.unread[other] {
			return
		}
		message = strings.Replace(message, "%s", other, 1)
	}
	*f.list = append(*f.list, Fault{variable, message})
}

// Check adds the fault unless ok.
func (f *Faults) Check(ok bool, variable, message string, others ...string) {
	if !ok {
		f.Add(variable, message, others...)
	}
}

// refuse reports that the value of the variable of that full name could not be
// taken, because of what the variable named holds: the same or its _FILE.
func (f *Faults) refuse(variable, named, message string) {
	f.unread[variable] = true
	*f.list = append(*f.list, Fault{named, message})
}

// CheckReadable adds a fault unless the file that variable names can be read.
func (f *Faults) CheckReadable(variable string, file FileOrText) {
	if _, err := file.Bytes(); err != nil {
		f.Add(variable, "cannot be read: "+err.Error())
	}
}
