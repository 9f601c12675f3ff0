package redis_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// certify gives a server a certificate for a name, signed by the authority that all servers and clients here trust. It
// holds for 127.0.0.1 too, by which redistest reaches the server.
func certify(t *testing.T, s *redistest.Server, name string) {
	t.Helper()
	authority := s.TLSConfig().Certificates[0]
	parent, err := x509.ParseCertificate(authority.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, _ := authority.PrivateKey.(crypto.Signer)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, block := range map[string]*pem.Block{"crt": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do(t, s, "CONFIG", "SET", "tls-cert-file", filepath.Join(dir, "crt"), "tls-key-file", filepath.Join(dir, "key"))
}

// toLoopback dials the port of any host at 127.0.0.1, as if a name server said so.
func toLoopback(ctx context.Context, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
}

// trusting is a client's TLS with nothing but the authority.
func trusting(s *redistest.Server) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.TLSConfig().RootCAs}
}

// subscribedOnce returns an error unless the nodes have one subscription to each channel of the topics, all together.
func subscribedOnce(t *testing.T, c *redistest.Cluster, topics []transport.Topic) error {
	t.Helper()
	for _, topic := range topics {
		placement := router.Placement{Topic: topic.Name, Partitions: topic.Partitions}
		for i := range placement.Len() {
			var all int64
			for _, s := range c.Nodes() {
				reply, err := s.Do(t.Context(), "PUBSUB", "SHARDNUMSUB", placement.Channel(i))
				if err != nil {
					return err
				}
				words, _ := reply.([]any)
				if len(words) != 2 {
					return fmt.Errorf("PUBSUB SHARDNUMSUB: %v", reply)
				}
				n, _ := words[1].(int64)
				all += n
			}
			if all != 1 {
				return fmt.Errorf("%s is subscribed to %d times", placement.Channel(i), all)
			}
		}
	}
	return nil
}

// TestTLSCluster: each node shows a certificate for the name that it announces, and for no other node's.
func TestTLSCluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, redistest.ClusterConfig{Config: redistest.Config{
		TLS: true, Directives: []string{"cluster-preferred-endpoint-type hostname"},
	}})
	name := func(i int) string { return fmt.Sprintf("node-%d.redis.test", i) }
	first := ""
	for i, s := range c.Nodes() {
		certify(t, s, name(i))
		do(t, s, "CONFIG", "SET", "cluster-announce-hostname", name(i))
		if i == 0 {
			first = fmt.Sprintf("%s:%d", name(0), s.Port())
		}
	}
	secure := trusting(c.Nodes()[0])
	n := serve(t, redis.Config{Addrs: []string{first}, TLS: secure, Dial: toLoopback})
	topics := []transport.Topic{{Name: "a", Partitions: 6}, {Name: "b", Partitions: 6}}
	n.subscribe(t, topics...)
	eventually(t, "every node under its name", func() error {
		text := fmt.Sprintf("%+v", n.Tree())
		for i := range c.Nodes() {
			if !strings.Contains(text, name(i)) {
				return fmt.Errorf("%s is not in %s", name(i), text)
			}
		}
		return nil
	})
	// Names spread among the nodes while we ask: for a moment one may be subscribed to under both that it goes by.
	eventually(t, "each channel subscribed to once", func() error { return subscribedOnce(t, c, topics) })
	for i := range 6 {
		for _, topic := range topics {
			env := transport.Envelope{Topic: topic.Name, Partitions: 6, Partition: i, Publisher: "p", ID: "x"}
			if res := n.publish(t.Context(), env); res.Err != nil || res.Receivers != 1 {
				t.Errorf("%+v", res)
			}
		}
	}
	n.await(t, "the events", func() bool { return len(n.events) == 12 })

	// What pins all nodes to the first one's name reaches that one only, and says why.
	pinned := secure.Clone()
	pinned.ServerName = name(0)
	other := serve(t, redis.Config{Addrs: []string{first}, TLS: pinned, Dial: toLoopback})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := other.Subscribe(ctx, topics[0])
	if err == nil || !strings.Contains(err.Error(), "x509") || !strings.Contains(err.Error(), "cluster-announce-hostname") {
		t.Errorf("%v", err)
	}
	if err := finds(check(t, redis.Config{Addrs: []string{first}, TLS: pinned, Dial: toLoopback}), redis.Error,
		fmt.Sprintf("%s:%d", name(1), c.Nodes()[1].Port()), "reach", "x509"); err != nil {
		t.Error(err)
	}
}

// TestTLSMutual: a server that wants to know who we are; and what is wrong is told.
func TestTLSMutual(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{TLS: true, Directives: []string{"tls-auth-clients yes"}})
	plain := redistest.Standalone(t, redistest.Config{})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, TLS: s.TLSConfig()})
	n.subscribe(t, transport.Topic{Name: "a"})
	if res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "1"}); res.Err != nil || res.Receivers != 1 {
		t.Errorf("%+v", res)
	}
	other := s.TLSConfig()
	other.RootCAs = x509.NewCertPool()
	misnamed := s.TLSConfig()
	misnamed.ServerName = "elsewhere.test"
	for _, c := range []struct {
		name  string
		cfg   redis.Config
		words string
	}{
		{"no certificate", redis.Config{Addrs: []string{s.Addr()}, TLS: trusting(s)}, "Config.TLS.Certificates"},
		{"no authority", redis.Config{Addrs: []string{s.Addr()}, TLS: other}, "RootCAs"},
		{"another name", redis.Config{Addrs: []string{s.Addr()}, TLS: misnamed}, "ServerName"},
		{"TLS to a plain port", redis.Config{Addrs: []string{plain.Addr()}, TLS: s.TLSConfig()}, "does the server speak TLS"},
		{"plain to a TLS port", redis.Config{Addrs: []string{s.Addr()}}, "does the server want TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, dial := range []func(context.Context, string) (net.Conn, error){nil, toLoopback} {
				c.cfg.Dial = dial
				if err := open(t, c.cfg); err == nil || !strings.Contains(err.Error(), c.words) {
					t.Errorf("%v, want %q in it", err, c.words)
				}
			}
		})
	}
}
