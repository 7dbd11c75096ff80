package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// sample is what one run of a case measured of a system.
type sample struct {
	count    int64 // messages, at their receivers
	elapsed  time.Duration
	bytes    int64 // of bodies
	p50      float64
	p99      float64
	usage    Usage
	lost     int64
	memory   float64 // bytes of each thing, where that is what is measured
	streamed float64 // MB/s of the large bodies beside
	notYet   string
}

func (s *sample) rate() float64 { return per(float64(s.count), s.elapsed.Seconds()) }
func (s *sample) mbps() float64 { return per(float64(s.bytes)/1e6, s.elapsed.Seconds()) }
func (s *sample) cpu() float64 {
	return per(float64(s.usage.CPU.Nanoseconds())/1e3, float64(s.count))
}
func (s *sample) allocs() float64 { return per(float64(s.usage.Allocs), float64(s.count)) }

func per(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

func prepareCount(ctx context.Context, f *fleet, _ *benchCase) error {
	return each(ctx, f.receivers, "Count", countAddress)
}

func prepareEcho(ctx context.Context, f *fleet, _ *benchCase) error {
	return each(ctx, f.receivers, "Answer", echoAddress)
}

func prepareMixed(ctx context.Context, f *fleet, _ *benchCase) error {
	return errors.Join(each(ctx, f.receivers, "Answer", echoAddress), each(ctx, f.receivers, "Count", bulkAddress))
}

func runSend(ctx context.Context, f *fleet, c *benchCase, d time.Duration) (sample, error) {
	return f.send(ctx, SendArgs{Address: countAddress, Size: c.size, For: d, Local: c.receivers == 0})
}

func runPublish(ctx context.Context, f *fleet, c *benchCase, d time.Duration) (sample, error) {
	return f.send(ctx, SendArgs{Address: countAddress, Size: c.size, For: d, Publish: true})
}

// send lets the sender send and counts at the receivers.
func (f *fleet) send(ctx context.Context, a SendArgs) (s sample, err error) {
	s.usage, err = f.measured(ctx, func() (err error) {
		var sent Sent
		if sent, err = f.sendOnly(ctx, a); err != nil || sent.NotYet != "" {
			s.notYet = sent.NotYet
			return err
		}
		return f.collect(ctx, a, sent, &s)
	})
	return s, err
}

func (f *fleet) sendOnly(ctx context.Context, a SendArgs) (sent Sent, err error) {
	f.runs++
	a.Run = f.runs
	if err := each(ctx, f.receivers, "Arm", ArmArgs{Address: a.Address, Run: a.Run, Size: a.Size}); err != nil {
		return sent, err
	}
	return sent, f.sender.call(ctx, "Send", a, &sent)
}

// collect adds up what the receivers have got.
func (f *fleet) collect(ctx context.Context, a SendArgs, sent Sent, s *sample) error {
	var last int64
	for _, p := range f.receivers {
		var got Received
		if err := p.call(ctx, "Collect", a.Address, &got); err != nil {
			return err
		}
		if got.Broken > 0 {
			return fmt.Errorf("%s got %d messages out of order, twice or damaged", p.name, got.Broken)
		}
		s.count += got.Count
		s.lost += sent.Count - got.Count
		s.p50, s.p99 = max(s.p50, got.P50), max(s.p99, got.P99)
		last = max(last, got.Last)
	}
	s.bytes = s.count * int64(a.Size)
	s.elapsed = time.Duration(last - sent.Start)
	return nil
}

func runRequest(ctx context.Context, f *fleet, c *benchCase, d time.Duration) (s sample, err error) {
	s.usage, err = f.measured(ctx, func() error { return f.request(ctx, c, d, &s) })
	return s, err
}

// request lets the sender request and counts at both ends.
func (f *fleet) request(ctx context.Context, c *benchCase, d time.Duration, s *sample) error {
	var r Replied
	a := RequestArgs{Callers: c.callers, Size: c.size, For: d, Bound: c.bound}
	if err := f.sender.call(ctx, "Request", a, &r); err != nil {
		return err
	}
	var answered int64
	if err := f.receivers[0].call(ctx, "Answered", None{}, &answered); err != nil {
		return err
	}
	s.count, s.elapsed, s.p50, s.p99 = r.Count, r.Elapsed, r.P50, r.P99
	s.bytes = 2 * r.Count * int64(c.size)
	s.lost = r.Sent - r.Count
	if r.Err != "" {
		return fmt.Errorf("%d of %d requests failed: %s", s.lost, r.Sent, r.Err)
	}
	if answered != r.Count {
		return fmt.Errorf("%d requests were handled and %d replies came", answered, r.Count)
	}
	return nil
}

// runMixed requests while large bodies go the same way.
func runMixed(ctx context.Context, f *fleet, c *benchCase, d time.Duration) (s sample, err error) {
	const lead = 20 * time.Millisecond // so that the stream flows before and after
	bulk := SendArgs{Address: bulkAddress, Size: 1 << 20, For: d + 2*lead}
	type result struct {
		sent Sent
		err  error
	}
	streamed := make(chan result, 1)
	s.usage, err = f.measured(ctx, func() error {
		go func() { // its result is awaited below
			sent, err := f.sendOnly(ctx, bulk)
			streamed <- result{sent, err}
		}()
		select {
		case r := <-streamed:
			s.notYet = r.sent.NotYet
			return r.err
		case <-time.After(lead):
		}
		err := f.request(ctx, c, d, &s)
		r := <-streamed
		if err = errors.Join(err, r.err); err != nil {
			return err
		}
		var stream sample
		if err := f.collect(ctx, bulk, r.sent, &stream); err != nil {
			return err
		}
		s.lost += stream.lost
		s.streamed = stream.mbps()
		return nil
	})
	return s, err
}
