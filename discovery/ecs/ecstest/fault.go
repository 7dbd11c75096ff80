package ecstest

import (
	"io"
	"net/http"
	"slices"
	"time"
)

// Fault is a wrong answer, given instead of the right one.
type Fault struct {
	// Action is what fails: "ListTasks", "DescribeTasks",
	// "DescribeContainerInstances", or [Metadata]; "" means all but Metadata.
	Action string
	// Times is how many requests fail; 0 means all, until [Fake.ClearFaults].
	Times int
	// For is how long it lasts, from its injection; 0 means for as long as
	// Times says.
	For time.Duration
	// Hang keeps the request without an answer until the client gives up or the
	// fake is closed.
	Hang bool
	// Status is the HTTP status; 0 means 400.
	Status int
	// Type is the AWS error, such as "ThrottlingException". "" means that Body
	// is the whole answer.
	Type string
	// Message is the text of the AWS error.
	Message string
	// Body is the answer where Type is "".
	Body string

	ends time.Time // zero: not by time
}

// Throttle is a fault: the first n requests of any action are throttled; 0
// means all of them.
func Throttle(n int) Fault {
	return Fault{Times: n, Type: "ThrottlingException", Message: "Rate exceeded"}
}

// ServerError is a fault: the first n requests of any action get HTTP status
// 500; 0 means all.
func ServerError(n int) Fault {
	return Fault{Times: n, Status: http.StatusInternalServerError, Type: "ServerException", Message: "Service Unavailable. Please try again later."}
}

// AccessDenied is a fault: the caller's role may not use the action, such as
// "ListTasks".
func AccessDenied(action string) Fault {
	return Fault{Action: action, Type: "AccessDeniedException", Message: "User: arn:aws:sts::123456789012:assumed-role/task-role/0123456789abcdef is not authorized to perform: " +
		"ecs:" + action + " because no identity-based policy allows the ecs:" + action + " action"}
}

// Hang is a fault: requests of the action are never answered.
func Hang(action string) Fault { return Fault{Action: action, Hang: true} }

// Inject adds a fault. Where several fit a request, the one that was injected
// first is used.
func (f *Fake) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault.For > 0 {
		fault.ends = f.cfg.Now().Add(fault.For)
	}
	f.faults = append(f.faults, &fault)
}

// ClearFaults removes all faults. Requests that hang stay so.
func (f *Fake) ClearFaults() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// count counts a request and returns the fault that answers it, if any.
func (f *Fake) count(action string) (fault Fault, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[action]++
	now := f.cfg.Now()
	f.faults = slices.DeleteFunc(f.faults, func(fault *Fault) bool { return !fault.ends.IsZero() && !now.Before(fault.ends) })
	for i, candidate := range f.faults {
		if candidate.Action != action && (candidate.Action != "" || action == Metadata) {
			continue
		}
		fault = *candidate
		if candidate.Times == 1 {
			f.faults = slices.Delete(f.faults, i, i+1)
		} else if candidate.Times > 1 {
			candidate.Times--
		}
		return fault, true
	}
	return Fault{}, false
}

// answer gives the wrong answer. A fault that hangs is ended by closing, too.
func (fault Fault) answer(w http.ResponseWriter, r *http.Request, closing <-chan struct{}) {
	status := fault.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	switch {
	case fault.Hang:
		_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that the client gives up
		select {
		case <-r.Context().Done():
		case <-closing:
		}
	case fault.Type != "":
		writeError(w, status, fault.Type, fault.Message)
	default:
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(fault.Body))
	}
}
