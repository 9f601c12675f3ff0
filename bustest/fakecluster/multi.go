package fakecluster

func (cl *client) multi(args []string) {
	if !cl.tx.open {
		cl.tx = transaction{open: len(args) == 1}
	}
	cl.backend(args)
}

func (cl *client) discard(args []string) {
	cl.tx = transaction{}
	cl.backend(args)
}

func (cl *client) exec(args []string) {
	tx := cl.tx
	cl.tx = transaction{}
	if tx.open && tx.dirty {
		cl.backend([]string{"DISCARD"})
		cl.reply.buf = cl.reply.buf[:0]
		cl.reply.err("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	cl.inScript(args)
}
