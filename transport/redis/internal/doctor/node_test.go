package doctor

import (
	"fmt"

	"github.com/shardbus/shardbus/router"
)

func node(i int) router.Node {
	return router.Node{Addr: fmt.Sprintf("10.0.0.%d:6379", i), ID: fmt.Sprintf("id%d", i)}
}
