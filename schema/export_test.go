package schema

// CutEvent leaves out of the body of an event what r does not have.
func (r *Release) CutEvent(body []byte) ([]byte, error) { return r.eventCut.apply(body) }
