package inspect

// Forget has the addresses looked up anew.
func Forget(i *Inspector) {
	i.book.mu.Lock()
	defer i.book.mu.Unlock()
	i.book.extracts = nil
}
