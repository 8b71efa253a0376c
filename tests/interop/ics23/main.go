// Judges state proofs with the stock ICS-23 verifier, as any IBC chain would.
//
// Reads {"spec": hex, "cases": [{"root", "key", "value" (absent: proof of absence), "proof": hex}]} on standard input
// and writes one boolean per case as a JSON array. With the argument "smt" it judges by the library's own SmtSpec
// instead of the given spec: both must agree on every case.
package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/cosmos/gogoproto/proto"
	ics23 "github.com/cosmos/ics23/go"
)

type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	*b = raw
	return err
}

type stateCase struct {
	Root, Key, Proof hexBytes
	Value            *hexBytes
}

func judge(spec *ics23.ProofSpec, c stateCase) bool {
	var proof ics23.CommitmentProof
	if proto.Unmarshal(c.Proof, &proof) != nil {
		return false
	}
	if c.Value == nil {
		return ics23.VerifyNonMembership(spec, ics23.CommitmentRoot(c.Root), &proof, c.Key)
	}
	return ics23.VerifyMembership(spec, ics23.CommitmentRoot(c.Root), &proof, c.Key, *c.Value)
}

func main() {
	var input struct {
		Spec  hexBytes
		Cases []stateCase
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		fail(err)
	}
	spec := &ics23.ProofSpec{}
	if len(os.Args) > 1 && os.Args[1] == "smt" {
		spec = ics23.SmtSpec
	} else if err := proto.Unmarshal(input.Spec, spec); err != nil {
		fail(err)
	}
	verdicts := make([]bool, len(input.Cases))
	for i, c := range input.Cases {
		verdicts[i] = judge(spec, c)
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
