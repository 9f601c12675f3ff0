package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// An identity is a self-signed certificate for 127.0.0.1 and localhost that is
// its own authority: servers and clients of this process all show it and trust
// nothing else.
type identity struct {
	certPEM, keyPEM []byte
	client          *tls.Config
}

// theIdentity is made when first needed and lives as long as the process.
var theIdentity = sync.OnceValues(newIdentity)

// newIdentity makes a key and its certificate.
func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("redistest: make a TLS key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "redistest"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"localhost"},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("redistest: make a TLS certificate: %w", err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("redistest: encode a TLS key: %w", err)
	}
	id := &identity{
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}
	pair, err := tls.X509KeyPair(id.certPEM, id.keyPEM)
	if err != nil {
		return nil, fmt.Errorf("redistest: load a TLS key pair: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(id.certPEM)
	id.client = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		ServerName:   "127.0.0.1",
		Certificates: []tls.Certificate{pair},
	}
	return id, nil
}

// The names of the key and certificate files in a server's directory.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// writeIdentity puts the files that [tlsDirectives] names into dir.
func writeIdentity(dir string) error {
	id, err := theIdentity()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, certFile), id.certPEM, 0o600); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), id.keyPEM, 0o600); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	return nil
}

// tlsDirectives returns what makes a server in dir speak TLS everywhere.
func tlsDirectives(dir string) []string {
	cert, key := quote(filepath.Join(dir, certFile)), quote(filepath.Join(dir, keyFile))
	return []string{
		"tls-cert-file " + cert,
		"tls-key-file " + key,
		"tls-ca-cert-file " + cert,
		"tls-auth-clients optional",
		"tls-replication yes",
		"tls-cluster yes",
	}
}
