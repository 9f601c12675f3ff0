package record

// Seal makes a sound value of any bytes.
func Seal(body []byte) []byte { return seal(append(begin(len(body)), body...)) }
