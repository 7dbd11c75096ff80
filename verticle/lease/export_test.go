package lease

import "time"

// WithClockSpeed makes the clock run so many times as fast as others.
func WithClockSpeed(speed float64) Option {
	return optionFunc(func(c *config) error {
		c.clock = clock{speed, time.Now()}
		return nil
	})
}
