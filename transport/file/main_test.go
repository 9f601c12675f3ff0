package file

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roleVariable names the role that this program plays, if it is a child of a test.
const roleVariable = "SHARDBUS_FILE_ROLE"

// roles are what children do.
var roles = map[string]func(args []string) error{
	"work": workRole,
	"hold": holdRole,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
