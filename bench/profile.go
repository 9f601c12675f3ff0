package main

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
)

// profiling begins to write the profiles that a file is named for; stop ends them.
func profiling(cpu, mem string) (stop func() error, err error) {
	var ends []func() error
	if cpu != "" {
		f, err := os.Create(cpu)
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		ends = append(ends, func() error {
			pprof.StopCPUProfile()
			return f.Close()
		})
	}
	if mem != "" {
		runtime.MemProfileRate = 512
		ends = append(ends, func() error {
			f, err := os.Create(mem)
			if err != nil {
				return err
			}
			runtime.GC() // a profile is as of the last collection
			return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
		})
	}
	return func() error {
		var err error
		for _, end := range ends {
			err = errors.Join(err, end())
		}
		return err
	}, nil
}
