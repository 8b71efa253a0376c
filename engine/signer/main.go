// The validator's remote signer: holds the key and what it signed last, and signs for the node that it dials.
//
// Key files, refusals and protocol are CometBFT's own (privval). Its server loop is not used: after the node closed the
// connection it reads the end of it again and again instead of dialling anew (v0.39.4, privval/signer_endpoint.go).
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/log"
	cmtnet "github.com/cometbft/cometbft/libs/net"
	"github.com/cometbft/cometbft/privval"
)

const (
	connectMax = 3 * time.Second
	retryPause = 200 * time.Millisecond
	silenceMax = 15 * time.Second // the node pings every 3.3 s
	usageCode  = 2
)

func main() {
	connect := flag.String("connect", "", "the node's signer_listen: unix://path or tcp://127.0.0.1:port")
	chain := flag.String("chain", "", "chain id that is signed for, and no other")
	key := flag.String("key", "", "priv_validator_key.json of the validator, mode 0600")
	state := flag.String("state", "", "priv_validator_state.json, what was signed last; belongs to the key")
	flag.Parse()
	if *connect == "" || *chain == "" || *key == "" || *state == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(usageCode)
	}
	if err := run(*connect, *chain, *key, *state); err != nil {
		fmt.Fprintln(os.Stderr, "althing-signer:", err)
		os.Exit(1)
	}
}

func run(connect, chain, key, state string) error {
	for _, path := range []string{key, state} {
		// A state that is missing is no state at all: this key may have signed anything.
		found, err := os.Stat(path)
		if err != nil {
			return err
		}
		if found.Mode().Perm()&0o077 != 0 {
			return fmt.Errorf("%s is readable by others; run: chmod 600 %s", path, path)
		}
	}
	held, err := hold(state)
	if err != nil {
		return err
	}
	defer held.Close()

	var dial privval.SocketDialer
	switch protocol, address := cmtnet.ProtocolAndAddress(connect); protocol {
	case "unix":
		dial = privval.DialUnixFn(address)
	case "tcp":
		dial = privval.DialTCPFn(address, connectMax, ed25519.GenPrivKey())
	default:
		return fmt.Errorf("%s is neither unix:// nor tcp://", connect)
	}
	validator := privval.LoadFilePV(key, state)
	logger := log.NewFilter(log.NewTMJSONLogger(log.NewSyncWriter(os.Stderr)), log.AllowInfo())
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ended
		os.Exit(0) // what was signed is on the disk before it is shown to anybody
	}()
	logger.Info("signer started", "connect", connect, "chain", chain, "address", validator.GetAddress())
	for {
		connection, err := dial()
		if err != nil {
			time.Sleep(retryPause)
			continue
		}
		logger.Info("connected to the node")
		logger.Info("the node is gone", "err", serve(connection, validator, chain, logger))
	}
}

// serve answers one connection's requests until it ends, which is never without a reason.
func serve(connection net.Conn, validator *privval.FilePV, chain string, logger log.Logger) error {
	endpoint := privval.NewSignerDialerEndpoint(logger, nil, privval.SignerDialerEndpointTimeoutReadWrite(silenceMax))
	endpoint.SetConnection(connection)
	defer endpoint.DropConnection()
	for {
		request, err := endpoint.ReadMessage()
		if err != nil {
			return err
		}
		answer, err := privval.DefaultValidationRequestHandler(validator, request, chain)
		if err != nil { // a refusal, which the answer tells
			logger.Error("not signed", "err", err)
		}
		if err := endpoint.WriteMessage(answer); err != nil {
			return err
		}
	}
}

// hold keeps a second signer from the same state: two could sign the same height differently.
func hold(state string) (*os.File, error) {
	file, err := os.OpenFile(state+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("another signer uses %s", state)
	}
	return file, nil
}
