//go:build !unix

package faultlab

import (
	"errors"
	"syscall"
)

func (p *process) suspend() error { return errors.ErrUnsupported }

func (p *process) goOn() error { return errors.ErrUnsupported }

func childAttr() *syscall.SysProcAttr { return nil }
