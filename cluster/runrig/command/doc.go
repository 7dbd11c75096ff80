// Package command is the command runrig: it attaches to one node of a cluster, which
// tells of all, and shows what is there, as tables for people and JSON for programs. It
// also has the node send messages, and hear them.
//
// A program that has it in its own binary can be looked at from inside its container,
// in an image without a shell and with the secret at hand:
//
//	func main() {
//		if len(os.Args) > 1 && os.Args[1] == "runrig" {
//			os.Exit(command.Main(os.Args[2:]))
//		}
//		...
//
//	$ aws ecs execute-command --task … --interactive --command "/app runrig members"
//
// The program's node must serve it: cluster.Config.Admin is inspect.Handler, or
// inspect.ReadOnly.
//
// # Attaching
//
// -node says where the node is, "host:port", or "host" where it has the usual port; several, with commas, are tried in turn. The
// default is RUNRIG_NODE, else 127.0.0.1:7946. The secret is that of the cluster: from
// RUNRIG_SECRET, another variable (-secret-env), or a file (-secret-file). It is never an
// argument, as others can read those, and never printed. A node without a secret
// answers only its own host. Attaching makes nobody a member; bench alone joins.
//
// # Exit codes
//
//	0   it went well; of check: all is well
//	1   it failed; of check: a warning
//	2   of check: critical
//	3   of check: unknown, as no node answered
//	64  the arguments are wrong
//
// # What is shown
//
// Text of others, an address, say, cannot do anything to the terminal: what is not
// printable is shown as an escape (\x1b). Tables have colour only on a terminal, and none
// if NO_COLOR is set. With -json there is one document, of the types of package inspect;
// what goes on (monitor, sub, -watch) has one a line.
package command
