package verticle

// With returns a verticle with the options of its deployment, for whoever deploys it
// without any: [Run], or a function of [Instances]. Options that are given at the
// deployment come after these.
func With(v Verticle, opts ...Option) Verticle { return with{v, opts} }

// with is taken apart before it is deployed; nobody calls its methods.
type with struct {
	Verticle
	opts []Option
}

// apart returns the verticle that With has dressed, perhaps several times, and all
// options.
func apart(v Verticle, opts []Option) (Verticle, []Option) {
	for {
		w, ok := v.(with)
		if !ok {
			return v, opts
		}
		v, opts = w.Verticle, append(w.opts[:len(w.opts):len(w.opts)], opts...)
	}
}
