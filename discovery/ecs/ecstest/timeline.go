package ecstest

import (
	"fmt"
	"slices"
	"time"
)

// The states a task goes through, in order. From DEACTIVATING on it is not to
// run any more.
var states = []string{
	"PROVISIONING", "PENDING", "ACTIVATING", "RUNNING",
	"DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "DELETED",
}

// Step is a change of a task's status that comes by itself.
type Step struct {
	After  time.Duration // the time that the task is in the status before
	Status string
}

// Lifecycle are the steps of a task from PENDING to RUNNING, each of which
// takes d: a value for [TaskConfig].Then of a task whose Status is
// PROVISIONING.
func Lifecycle(d time.Duration) []Step {
	return []Step{{d, "PENDING"}, {d, "ACTIVATING"}, {d, "RUNNING"}}
}

// timeline is what statuses a task has and when, in the order of time. The
// first one is there from the beginning; those that are in the future are a
// script.
type timeline []change

type change struct {
	at     time.Time
	status string
}

// script is the timeline of a task that is made now.
func script(now time.Time, first string, then []Step) timeline {
	line := timeline{{now, first}}
	for _, s := range then {
		now = now.Add(s.After)
		line = append(line, change{now, s.Status})
	}
	return line
}

// at is the status at that time, "" before the beginning.
func (l timeline) at(now time.Time) string {
	status := ""
	for _, c := range l {
		if !c.at.After(now) {
			status = c.status
		}
	}
	return status
}

// set changes the status now, and what was to come will not come.
func (l timeline) set(now time.Time, status string) timeline {
	past := slices.DeleteFunc(l, func(c change) bool { return c.at.After(now) })
	return append(past, change{now, status})
}

// started is when the task was first RUNNING, zero if it has not been.
func (l timeline) started(now time.Time) time.Time {
	for _, c := range l {
		if c.status == "RUNNING" && !c.at.After(now) {
			return c.at
		}
	}
	return time.Time{}
}

// desired is what is to become of a task with that status.
func desired(status string) string {
	if slices.Index(states, status) > slices.Index(states, "RUNNING") {
		return "STOPPED"
	}
	return "RUNNING"
}

func checkSteps(steps []Step) error {
	for i, s := range steps {
		if !slices.Contains(states, s.Status) || s.After < 0 {
			return fmt.Errorf("ecstest: TaskConfig.Then[%d] is %q after %v, want one of %q after no negative time", i, s.Status, s.After, states)
		}
	}
	return nil
}
