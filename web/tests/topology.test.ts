import { describe, expect, it } from "vitest";
import type { Network, NetworkPeer, NetworkValidator } from "../src/api/client";
import { percent } from "../src/format/number";
import { bars, HEIGHT, standing, topology, WIDTH } from "../src/views/topology";

function validator(index: number, more: Partial<NetworkValidator> = {}): NetworkValidator {
  return {
    address: `a${index}`,
    public_key: "",
    organisation: null,
    organisation_name: `org-${index}`,
    power: 10,
    blocks: 4,
    signed: 4,
    missed: 0,
    signed_share: 1,
    proposed: 1,
    last_signed_height: 4,
    marks: "ssss",
    this_node: index === 0,
    peer: null,
    ...more,
  };
}

function peer(id: string, more: Partial<NetworkPeer> = {}): NetworkPeer {
  return {
    id,
    name: `node-${id}`,
    validator: null,
    connected: true,
    direction: "outbound",
    address_kind: "private",
    address: null,
    version: "1",
    connected_since: null,
    last_seen: null,
    height: 1,
    bytes_sent: 0,
    bytes_received: 0,
    ...more,
  };
}

function network(validators: NetworkValidator[], peers: NetworkPeer[]): Network {
  return { node: { node: "al1", name: "me" }, validators, peers } as unknown as Network;
}

describe("topology", () => {
  it("draws this node in the middle, a validator with its peer once, and others by themselves", () => {
    const found = topology(network([validator(0), validator(1, { peer: "p" }), validator(2)], [peer("p"), peer("q", { connected: false })]));
    expect(found.parties.map((party) => party.id)).toEqual(["a0", "a1", "a2", "q"]);
    expect(found.parties.filter((party) => party.self).map((party) => party.id)).toEqual(["a0"]);
    expect(found.links.map((link) => [link.id, link.connected, link.arrow])).toEqual([
      ["p", true, true],
      ["q", false, false],
    ]);
  });

  it("points from who dialled", () => {
    const [out] = topology(network([validator(0)], [peer("p")])).links;
    const [back] = topology(network([validator(0)], [peer("p", { direction: "inbound" })])).links;
    expect(out && back && out.from.y > out.to.y && back.from.y < back.to.y).toBe(true);
  });

  it.each([1, 4, 13, 40, 100])("keeps %i parties within the picture and apart", (count) => {
    const members = Array.from({ length: count + 1 }, (_, index) => validator(index));
    const { parties } = topology(network(members, []));
    for (const [index, one] of parties.entries()) {
      expect(one.x - one.r).toBeGreaterThanOrEqual(0);
      expect(one.x + one.r).toBeLessThanOrEqual(WIDTH);
      expect(one.y - one.r).toBeGreaterThanOrEqual(0);
      expect(one.y + one.r).toBeLessThanOrEqual(HEIGHT);
      for (const other of parties.slice(index + 1)) {
        expect(Math.hypot(one.x - other.x, one.y - other.y)).toBeGreaterThan(count > 40 ? 5 : one.r + other.r);
      }
    }
  });

  it("tells how a validator stands by its last blocks", () => {
    const of = (marks: string) => standing(validator(1, { marks }));
    expect([of("mmms"), of("sssm"), of("smmmmm"), of("nnnnn"), of("---"), of("")]).toEqual(["signing", "late", "silent", "silent", "joining", "joining"]);
    expect(standing(undefined)).toBe("observer");
  });
});

describe("bars of signed blocks", () => {
  it("gathers marks, and tells missed from not there", () => {
    expect(bars("ssmm--sm", 4)).toEqual([{ share: 1 }, { share: 0 }, { share: null }, { share: 0.5 }]);
    expect(bars("", 4)).toEqual([]);
    expect(bars("s".repeat(101), 50).length).toBeLessThanOrEqual(50);
  });
});

describe("percent", () => {
  it("never says all or nothing of what is neither", () => {
    expect([percent(1, "en"), percent(0.9999, "en"), percent(0.0001, "en"), percent(0, "en")]).toEqual(["100%", "99.9%", "0.1%", "0%"]);
  });
});
