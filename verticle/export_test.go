package verticle

// Kept counts the consumers that a deployment keeps.
func Kept(d *Deployment) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.life.consumers)
}
