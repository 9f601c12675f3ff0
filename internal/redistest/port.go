package redistest

import "errors"

// errPortTaken says that a server could not listen because somebody else took
// one of its ports in between.
var errPortTaken = errors.New("redistest: port taken by another process")

// A port is a TCP port on 127.0.0.1 that the kernel chose, reserved where the
// system allows it until release is called.
type port struct {
	number  int
	release func() // may be called twice; never nil
}

// reservePorts returns n ports, all different. On an error none stays reserved.
func reservePorts(n int) ([]port, error) {
	ports := make([]port, 0, n)
	for range n {
		p, err := reservePort()
		if err != nil {
			releasePorts(ports)
			return nil, err
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// releasePorts gives all of ports back.
func releasePorts(ports []port) {
	for _, p := range ports {
		p.release()
	}
}
