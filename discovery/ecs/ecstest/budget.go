package ecstest

import "time"

// What AWS allows an account in a region of the calls that read cluster
// resources (Amazon ECS API reference, "Request throttling").
const (
	budgetBurst = 100
	budgetRate  = 20 // a second
)

// budget is the token bucket of an account. The zero value is full.
type budget struct {
	spent float64 // tokens that are missing
	at    time.Time
}

// take takes a token if there is one.
func (b *budget) take(now time.Time) bool {
	b.spent = max(0, b.spent-budgetRate*now.Sub(b.at).Seconds())
	b.at = now
	if b.spent+1 > budgetBurst {
		return false
	}
	b.spent++
	return true
}

// affords takes the price of one call from the account's budget, if there is one.
func (f *Fake) affords() bool {
	if !f.cfg.Budget {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.budget.take(f.cfg.Now())
}
