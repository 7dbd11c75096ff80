package ecs

import (
	"errors"
	"slices"
	"time"
)

// What is logged as a warning is said once, when it begins.

// troubles are the tasks that were found out of reach by one poll and not by the
// one before.
type troubles map[error][]trouble // by the kind

type trouble struct {
	task string
	err  error
}

// remember keeps what a look at a task found, and logs it if it is news.
func (p *Provider) remember(id string, made peer, news *troubles) {
	before := p.seen[id]
	p.seen[id] = made
	switch {
	case made.says() == before.says():
	case made.refused != nil:
		kind := ErrNoAddress
		if errors.Is(made.refused, ErrHostPort) {
			kind = ErrHostPort
		}
		if *news == nil {
			*news = troubles{}
		}
		(*news)[kind] = append((*news)[kind], trouble{id, made.refused})
	case made.reason != "":
		p.cfg.Logger.Debug("task left out", "task", id, "reason", made.reason)
	}
}

// warn tells the first of each kind of trouble, with how many others have the
// same, which are told at debug level.
func (p *Provider) warn(news troubles) {
	for _, all := range news {
		log := p.cfg.Logger.Warn
		for i, t := range all {
			log("task left out", "task", t.task, "reason", reasonUnreachable, "others", len(all)-1-i, "err", t.err)
			log = p.cfg.Logger.Debug
		}
	}
}

// tellMissing warns of services that do not exist, and tells when all do.
func (p *Provider) tellMissing(names []string, err error) {
	switch {
	case slices.Equal(names, p.missing):
	case len(names) > 0:
		p.cfg.Logger.Warn("services are missing, only the tasks of the others are found", "services", names, "err", err)
	default:
		p.cfg.Logger.Info("all services exist now", "were missing", p.missing)
	}
	p.missing = names
}

// refusing is the time during which none of the listed tasks is wanted.
type refusing struct {
	since time.Time // zero: it is not so
	told  bool
}

// tellRefusing warns when tasks are there and Config refuses all: a tag may be
// misspelt. For the first task of a new deployment that is as it should be, for
// some minutes.
func (p *Provider) tellRefusing(r Result) {
	deployment := r.Skipped[reasonDeployment]
	others := r.Skipped[reasonTags] + r.Skipped[reasonFilter] + r.Skipped[reasonUnhealthy]
	switch {
	case len(r.Peers) > 0 || deployment+others == 0 || r.Skipped[reasonNoAddress] > 0:
		p.refusing = refusing{}
		return
	case p.refusing.since.IsZero():
		p.refusing.since = time.Now()
	}
	if p.refusing.told || others == 0 && time.Since(p.refusing.since) < againMost {
		return
	}
	p.refusing.told = true
	p.cfg.Logger.Warn("tasks are listed, and none passes; check Config.Tags, Filter, SameDeployment and SkipUnhealthy",
		"cluster", p.cluster, "listed", r.Listed, "skipped", r.Skipped)
}
