import type { ClusterStage, Placed } from './stage.ts';

const TABLE = 'seen';

/** UDP ports: of WireGuard, of the one set of keys and of the other, and of what is wrapped in clear. */
const ENCRYPTED = '{ 51820, 51821 }';
const WRAPPED = '51830';
/** Where sandboxes have their addresses. */
const RANGE = '10.64.0.0/10';

/** Packets, by what whoever is on the wire could see of them. */
export type Seen = {
  /** What one of a pair sent to the other, to be read. */
  readonly pair: number;
  /** All else that sandboxes sent, to be read: as it is, or wrapped. */
  readonly clear: number;
  readonly encrypted: number;
};

/** Counts on the network between the hosts what each of them sends; it has no part in it. */
export class Wire {
  readonly #stage: ClusterStage;

  /** @param pair who send datagrams to each other at `port`, on one network */
  constructor(stage: ClusterStage, [one, other]: readonly [Placed, Placed], port: number) {
    this.#stage = stage;
    const devices = stage.hosts.map(({ name }) => `"${name}"`).join(', ');
    const addresses = `{ ${one.sandbox.hostAddress}, ${other.sandbox.hostAddress} }`;
    const isOfPair = `ip saddr ${addresses} ip daddr ${addresses} udp dport ${port}`;
    const table = [
      `table netdev ${TABLE} {`,
      ...(['pair', 'clear', 'encrypted'] as const).map((name) => `counter ${name} { }`),
      'chain sent {',
      `type filter hook ingress devices = { ${devices} } priority 0;`,
      `${isOfPair} counter name pair accept`,
      `ip daddr ${RANGE} counter name clear accept`,
      `udp dport ${WRAPPED} counter name clear accept`,
      `udp dport ${ENCRYPTED} counter name encrypted accept`,
      '}',
      '}',
    ];
    stage.underlay.run(stage.underlay.wire, 'nft', table.join('\n'));
  }

  seen(): Seen {
    const { underlay } = this.#stage;
    const text = underlay.run(underlay.wire, 'nft', '-j', 'list', 'counters', 'table', 'netdev', TABLE);
    const { nftables } = JSON.parse(text) as { nftables: { counter?: { name: string; packets: number } }[] };
    const of = (name: keyof Seen): number =>
      nftables.find(({ counter }) => counter?.name === name)?.counter?.packets ?? 0;
    return { pair: of('pair'), clear: of('clear'), encrypted: of('encrypted') };
  }
}
