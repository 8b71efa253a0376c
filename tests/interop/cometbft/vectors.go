package main

import (
	"bytes"
	"fmt"
	"math"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func headerVectors() ([]object, error) {
	one := set(map[string]int64{"a": 10})
	plain := header(7, start, one, one, key("a"))
	first := plain
	first.Height, first.LastBlockID, first.Version.App = 1, types.BlockID{}, 0
	empty := (&types.Commit{}).Hash()
	first.LastCommitHash, first.DataHash = empty, types.Txs{}.Hash()
	first.EvidenceHash, first.LastResultsHash = types.EvidenceList{}.Hash(), types.ABCIResults{}.Hash()
	whole := plain
	whole.Time = time.Unix(1_700_000_000, 0).UTC()
	early := plain
	early.Time = time.Date(1969, 12, 31, 23, 59, 59, 1, time.UTC)
	epoch := plain
	epoch.Time = time.Unix(0, 0).UTC()
	wide := plain
	wide.Height, wide.Version.App, wide.ChainID = math.MaxInt64, math.MaxUint64, "fifty-bytes-are-the-longest-chain-identifier-there-"[:50]
	bare := plain
	bare.AppHash = nil
	cases := []object{}
	names := []string{"a later block", "the first block", "whole seconds", "before 1970", "the epoch", "largest values", "no app hash"}
	for i, h := range []types.Header{plain, first, whole, early, epoch, wide, bare} {
		if err := h.ValidateBasic(); err != nil {
			return nil, err
		}
		cases = append(cases, object{"name": names[i], "header": describeHeader(h), "encoded": encode(h.ToProto()), "hash": hx(h.Hash())})
	}
	return cases, nil
}

func commitVectors() ([]object, error) {
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	commit, no := types.BlockIDFlagCommit, types.BlockIDFlagNil
	one := set(map[string]int64{"a": 10})
	four := set(map[string]int64{"a": 10, "b": 10, "c": 7, "d": 1})
	type input struct {
		set    *types.ValidatorSet
		commit *types.Commit
	}
	inputs := []input{
		{one, sign(9, 0, blockID("x", 1), one, map[string]vote{"a": {commit, at(1)}})},
		{four, sign(1, 2, blockID("y", 1601), four, map[string]vote{
			"a": {commit, at(5)}, "b": {no, at(3)}, "c": {commit, at(4)}})},
		{four, sign(math.MaxInt64, math.MaxInt32, blockID("z", 2), four, map[string]vote{
			"a": {commit, at(1000)}, "b": {commit, at(0)}, "c": {commit, at(877)}, "d": {no, time.Unix(5, 0)}})},
	}
	names := []string{"one validator", "four validators: absent, nil and commit", "largest values"}
	cases := []object{{
		"name": "before the first block", "commit": describeCommit(&types.Commit{}), "encoded": encode((&types.Commit{}).ToProto()),
		"hash": hx((&types.Commit{}).Hash()), "sign_bytes": []string{}, "validators": []object{}, "chain_id": chainID,
	}}
	for n, in := range inputs {
		if err := in.commit.ValidateBasic(); err != nil {
			return nil, err
		}
		messages := []string{}
		for i, s := range in.commit.Signatures {
			if s.BlockIDFlag == types.BlockIDFlagAbsent {
				messages = append(messages, "")
			} else {
				messages = append(messages, hx(in.commit.VoteSignBytes(chainID, int32(i))))
			}
		}
		median, err := sm.MedianTime(in.commit, in.set)
		if err != nil {
			return nil, err
		}
		cases = append(cases, object{
			"name": names[n], "commit": describeCommit(in.commit), "encoded": encode(in.commit.ToProto()), "hash": hx(in.commit.Hash()),
			"sign_bytes": messages, "validators": describeValidators(in.set), "chain_id": chainID,
			"median_time": describeTime(median),
		})
	}
	return cases, nil
}

func validatorVectors() ([]object, error) {
	sets := []map[string]int64{
		{"a": 1},
		{"a": 10, "b": 10, "c": 10},
		{"a": 1, "b": 3, "c": 2, "d": 3, "e": math.MaxInt64/8 - 100},
	}
	seven := map[string]int64{}
	for _, name := range []string{"q", "r", "s", "t", "u", "v", "w"} {
		seven[name] = int64(len(seven)%3 + 1)
	}
	cases := []object{}
	names := []string{"one", "equal powers", "largest total", "seven"}
	for i, powers := range append(sets, seven) {
		s := set(powers)
		addresses := []string{}
		for _, v := range s.Validators {
			addresses = append(addresses, hx(v.Address))
		}
		cases = append(cases, object{
			"name": names[i], "validators": describeValidators(s), "addresses": addresses, "hash": hx(s.Hash()), "encoded": protoSet(s),
		})
	}
	return cases, nil
}

func resultVectors() ([]object, error) {
	result := func(code uint32, data []byte, wanted, used int64) *abci.ExecTxResult {
		return &abci.ExecTxResult{
			Code: code, Data: data, GasWanted: wanted, GasUsed: used, Log: "ignored", Info: "ignored", Codespace: "ignored",
			Events: []abci.Event{{Type: "ignored"}},
		}
	}
	lists := [][]*abci.ExecTxResult{
		{},
		{result(0, nil, 0, 0)},
		{result(0, digest("receipts"), 500, 420), result(math.MaxUint32, []byte{}, math.MaxInt64, -1), result(1, []byte("x"), 0, 1)},
	}
	cases := []object{}
	names := []string{"none", "an empty result", "three"}
	for i, list := range lists {
		described := []object{}
		for _, r := range list {
			described = append(described, object{
				"code": r.Code, "data": hx(r.Data), "gas_wanted": num(r.GasWanted), "gas_used": num(r.GasUsed),
				"encoded": encode(abci.DeterministicExecTxResult(r)),
			})
		}
		cases = append(cases, object{"name": names[i], "results": described, "hash": hx(types.NewResults(list).Hash())})
	}
	return cases, nil
}

func paramVectors() ([]object, error) {
	cases := []object{}
	for _, limits := range [][2]int64{{22020096, -1}, {1, 0}, {-1, -1}, {104857600, math.MaxInt64}} {
		params := types.DefaultConsensusParams()
		params.Block.MaxBytes, params.Block.MaxGas = limits[0], limits[1]
		params.Evidence.MaxBytes = 0
		if err := params.ValidateBasic(); err != nil {
			return nil, err
		}
		room := int64(-1)
		if limits[0] > 10000 {
			room = types.MaxDataBytes(limits[0], 1000, 4)
		}
		cases = append(cases, object{
			"name":            fmt.Sprintf("bytes %d, gas %d", limits[0], limits[1]),
			"block_bytes_max": limits[0], "block_gas_max": num(limits[1]), "hash": hx(params.Hash()),
			"data_bytes_max_with_1000_evidence_bytes_and_4_validators": room,
		})
	}
	return cases, nil
}

func duplicateVote(s *types.ValidatorSet) types.Evidence {
	cast := func(name string) *types.Vote {
		v := &types.Vote{
			Type: cmtproto.PrecommitType, Height: 3, BlockID: blockID(name, 1), Timestamp: start,
			ValidatorAddress: key("a").PubKey().Address(),
		}
		v.Signature = must(key("a").Sign(types.VoteSignBytes(chainID, v.ToProto())))
		return v
	}
	return must(types.NewDuplicateVoteEvidence(cast("one"), cast("two"), start, s))
}

// fill describes a transaction of one repeated byte, so that blocks of several parts stay small as vectors.
type fill struct {
	Byte   byte `json:"byte"`
	Length int  `json:"length"`
}

func blockVectors() ([]object, error) {
	s := set(map[string]int64{"a": 10, "b": 5})
	last := sign(6, 0, blockID("last", 3), s, map[string]vote{"a": {types.BlockIDFlagCommit, start}, "b": {types.BlockIDFlagNil, start}})
	type input struct {
		height   int64
		txs      []fill
		last     *types.Commit
		evidence []types.Evidence
	}
	inputs := []input{
		{1, nil, &types.Commit{}, nil},
		{7, nil, last, nil},
		{7, []fill{{1, 1}, {0, 0}, {2, 300}}, last, nil},
		{7, []fill{{3, 70000}, {4, 70000}}, last, []types.Evidence{duplicateVote(s)}},
	}
	// One block exactly fills its parts, one is a byte longer.
	for _, extra := range []int{0, 1} {
		for length := 64000; length < 65536; length++ {
			txs := []fill{{9, length}}
			size := must(build(7, txs, last, nil, s).ToProto()).Size()
			if size == 65536+extra {
				inputs = append(inputs, input{7, txs, last, nil})
				break
			}
		}
	}
	cases := []object{}
	names := []string{"the first block", "no transactions", "three transactions, one empty", "evidence and three parts", "exactly one part", "one byte more than a part"}
	for i, in := range inputs {
		block := build(in.height, in.txs, in.last, in.evidence, s)
		if err := block.ValidateBasic(); err != nil {
			return nil, err
		}
		parts := must(block.MakePartSet(types.BlockPartSizeBytes))
		pb := must(block.ToProto())
		encoded := must(pb.Marshal())
		evidence := []string{}
		for _, e := range pb.Evidence.Evidence {
			evidence = append(evidence, encode(&e))
		}
		described := object{
			"name": names[i], "header": describeHeader(block.Header), "txs": in.txs, "evidence": evidence, "last_commit": describeCommit(in.last),
			"encoded_length": len(encoded), "encoded_sha256": hx(digest(string(encoded))),
			"block_id":     describeBlockID(types.BlockID{Hash: block.Hash(), PartSetHeader: parts.Header()}),
			"tx_data_size": types.ComputeProtoSizeForTxs(block.Txs),
		}
		if len(encoded) < 2000 {
			described["encoded"] = hx(encoded)
		}
		cases = append(cases, described)
	}
	return cases, nil
}

func build(height int64, fills []fill, last *types.Commit, evidence []types.Evidence, s *types.ValidatorSet) *types.Block {
	txs := []types.Tx{}
	for _, f := range fills {
		txs = append(txs, bytes.Repeat([]byte{f.Byte}, f.Length))
	}
	block := types.MakeBlock(height, txs, last, evidence)
	h := header(height, start, s, s, key("a"))
	if height == 1 {
		h.LastBlockID = types.BlockID{}
	}
	h.LastCommitHash, h.DataHash, h.EvidenceHash = nil, nil, nil
	h.Version = block.Version
	block.Header = h
	block.Hash()
	return block
}
