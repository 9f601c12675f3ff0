package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// running calls Run and returns how it is told to end, and what it returned.
func running(t testing.TB, b *bus.Bus) (stop context.CancelFunc, ended <-chan error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- b.Run(ctx) }()
	return cancel, result
}

// TestRun serves until its context ends, handles what was accepted, and returns nil when nothing runs any more.
func TestRun(t *testing.T) {
	for _, hold := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{Hold: hold})
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
			sub := subscribe(t, topic, "s", func(ctx context.Context, _ int) error {
				select {
				case <-time.After(time.Second):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			stop, ended := running(t, b)
			if err := b.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			for n := range 10 {
				publish(t, topic, n)
			}
			synctest.Wait()
			select {
			case err := <-ended:
				t.Fatalf("ended by itself: %v", err)
			case <-b.Done():
				t.Fatal("done")
			default:
			}
			if err := b.Err(); err != nil {
				t.Error(err)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if st := stats(t, sub); st.Handled != 10 {
				t.Errorf("%v", st)
			}
			<-b.Done()
			if err := b.Err(); err != nil {
				t.Error(err)
			}
			if err := b.Run(t.Context()); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("run again: %v", err)
			}
		})
	}
}

// TestRunEndsInTime: what does not end within ShutdownTimeout is abandoned, and Run says what.
func TestRunEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{ShutdownTimeout: time.Minute})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "s", func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		})
		stop, ended := running(t, b)
		publish(t, topic, 1)
		publish(t, topic, 2)
		began := time.Now()
		stop()
		requireError(t, <-ended, context.DeadlineExceeded, "shutdown", "n/s")
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		<-b.Done()
	})
}

// TestRunEndsForFatal: a subscription that is Fatal ends the bus by its panics, and Run says why; another does not.
func TestRunEndsForFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		bad := func(_ context.Context, n int) error {
			if n == 7 {
				panic("bad luck")
			}
			return nil
		}
		spared := newTopic(t, b, bus.TopicConfig[int]{Name: "spared"})
		subscribe(t, spared, "s", bad, bus.PanicBudget(0, time.Second))
		subscribe(t, topic, "fatal", bad, bus.PanicBudget(0, time.Second), bus.Fatal())
		good := subscribe(t, topic, "good", ignore[int])
		_, ended := running(t, b)
		publish(t, spared, 7)
		synctest.Wait()
		publish(t, topic, 1)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("it ended too early: %v", err)
		default:
		}
		publish(t, topic, 7)
		err := <-ended
		requireError(t, err, bus.ErrPanicBudget, "bad luck", "subscription fatal")
		requireError(t, b.Err(), bus.ErrPanicBudget)
		if st := stats(t, good); st.Handled != 2 {
			t.Errorf("%v", st)
		}
		<-b.Done()
	})
}

// TestRunEndsWithItsTransport: a transport that was closed can't be served again.
func TestRunEndsWithItsTransport(t *testing.T) {
	m := memory.NewBroker().Connect()
	f := &closable{Transport: m, closed: make(chan struct{})}
	b := newBus(t, bus.Config{Transport: f})
	subscribe(t, newTopic(t, b, bus.TopicConfig[int]{Name: "n"}), "s", ignore[int])
	_, ended := running(t, b)
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(f.closed)
	requireError(t, <-ended, transport.ErrClosed, "the transport was closed")
	<-b.Done()
}

// closable is a memory transport that can be closed.
type closable struct {
	*memory.Transport
	closed    chan struct{}
	closes    int
	closeErr  error
	onClose   func()
	claimFail error
}

func (c *closable) Serve(ctx context.Context, sink transport.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := c.Transport.Serve(ctx, sink)
	select {
	case <-c.closed:
		return transport.ErrClosed
	default:
		return err
	}
}

func (c *closable) Claim() error {
	if c.claimFail != nil {
		return c.claimFail
	}
	return c.Transport.Claim()
}

func (c *closable) Close() error {
	c.closes++
	if c.onClose != nil {
		c.onClose()
	}
	return c.closeErr
}

// TestRunElsewhere: Run returns when somebody else ends the bus, ends at once where its context has ended, and is refused
// to a handler.
func TestRunElsewhere(t *testing.T) {
	for _, hold := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{Hold: hold})
			_, ended := running(t, b)
			synctest.Wait()
			shutdown(t, b)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		b := newBus(t, bus.Config{Hold: hold})
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Run(over); err != nil {
			t.Error(err)
		}
		<-b.Done()
	}
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	refused := make(chan error, 1)
	subscribe(t, topic, "s", func(ctx context.Context, _ int) error {
		refused <- b.Run(ctx)
		return nil
	})
	publish(t, topic, 1)
	requireError(t, <-refused, bus.ErrWouldDeadlock)
	requireError(t, b.Run(noContext), bus.ErrNilContext)
	requireError(t, b.Start(noContext), bus.ErrNilContext)
	shutdown(t, b)
}

// TestOpen: a transport that the bus opens is closed with it, once, when nothing uses it any more; what goes wrong is told.
func TestOpen(t *testing.T) {
	connect := func() *closable {
		return &closable{Transport: memory.NewBroker().Connect(), closed: make(chan struct{})}
	}
	opens := func(c *closable) func(ctx context.Context) (transport.Transport, error) {
		return func(ctx context.Context) (transport.Transport, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the context of Open has no end")
			}
			return c, nil
		}
	}
	for name, end := range map[string]func(b *bus.Bus) error{
		"shutdown": func(b *bus.Bus) error { return b.Shutdown(t.Context()) },
		"close":    (*bus.Bus).Close,
		"run": func(b *bus.Bus) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return b.Run(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect()
			b, err := bus.New(bus.Config{Open: opens(c)})
			if err != nil {
				t.Fatal(err)
			}
			handled := make(chan struct{})
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
			subscribe(t, topic, "s", func(context.Context, int) error { close(handled); return nil })
			publish(t, topic, 1)
			<-handled
			c.onClose = func() {
				if n := c.Transport.Claim(); n != nil {
					t.Errorf("the bus still has the transport: %v", n)
				}
			}
			if err := end(b); err != nil {
				t.Error(err)
			}
			if c.closes != 1 {
				t.Errorf("closed %d times", c.closes)
			}
			if err := errors.Join(b.Close(), b.Err()); err != nil || c.closes != 1 {
				t.Errorf("%v, closed %d times", err, c.closes)
			}
		})
	}

	c := connect()
	c.closeErr = errors.New("stuck")
	b, err := bus.New(bus.Config{Open: opens(c)})
	if err != nil {
		t.Fatal(err)
	}
	requireError(t, b.Shutdown(t.Context()), c.closeErr, "close the transport")
	requireError(t, b.Err(), c.closeErr)

	c = connect()
	c.claimFail = transport.ErrInUse
	_, err = bus.New(bus.Config{Open: opens(c)})
	requireError(t, err, transport.ErrInUse)
	if c.closes != 1 {
		t.Errorf("closed %d times", c.closes)
	}

	refused := errors.New("connection refused")
	for want, open := range map[string]func(context.Context) (transport.Transport, error){
		"connection refused":                func(context.Context) (transport.Transport, error) { return nil, refused },
		"Config.Open panicked: no":          func(context.Context) (transport.Transport, error) { panic("no") },
		"Config.Open returned no transport": func(context.Context) (transport.Transport, error) { return nil, nil },
	} {
		if _, err := bus.New(bus.Config{Open: open}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, err = bus.New(bus.Config{Open: opens(c), Transport: c})
	requireError(t, err, bus.ErrInvalidConfig, "choose one")
	_, err = bus.New(bus.Config{ShutdownTimeout: -1})
	requireError(t, err, bus.ErrInvalidConfig, "ShutdownTimeout")
}

// TestRunJoinsErrors: when Start fails, what the Shutdown that follows has to say is told, too.
func TestRunJoinsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(bus.Config{Hold: true, Open: func(context.Context) (transport.Transport, error) {
			return refusing{memory.NewBroker().Connect()}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		subscribe(t, newTopic(t, b, bus.TopicConfig[int]{Name: "n"}), "s", ignore[int])
		err = b.Run(t.Context())
		requireError(t, err, errRefused, "start")
		requireError(t, err, errDirty, "shutdown")
		<-b.Done()
	})
}

var errRefused, errDirty = errors.New("refused"), errors.New("it did not end cleanly")

// refusing is a transport that subscribes to nothing, and does not close cleanly.
type refusing struct{ transport.Transport }

func (refusing) Subscribe(context.Context, transport.Topic) error { return errRefused }

func (refusing) Close() error { return errDirty }
