import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { LEAST_MTU } from '../../addr/ipv4.ts';
import { formatPrefix, type Prefix, parsePrefix } from '../../addr/prefix.ts';
import { type EpochRecord, readEpoch, writeEpoch } from '../../cluster/records.ts';
import { firstUnit, unitsOf } from '../../cluster/subnets.ts';
import { CulvertError } from '../../errors.ts';
import type { MeshPeer } from '../../mesh/peers.ts';
import { readPeer, writePublished } from '../../mesh/published.ts';
import { readFileIfThere, writeWholeFile } from '../../whole-file.ts';

/** What a host remembers of its cluster, so that it is back with the registry away. */
export type Seat = {
  /** of this state folder, a UUID */
  readonly identity: string;
  /** absent before it has joined for the first time */
  readonly place?: Place;
};

export type Place = {
  readonly clusterId: string;
  readonly name: string;
  readonly subnet: Prefix;
  /** of all hosts' subnets, cut into units of this prefix length */
  readonly range: Prefix;
  readonly unit: number;
  readonly peers: readonly MeshPeer[];
  /** how all send to each other, as it was last known */
  readonly epoch: EpochRecord;
  /** of the keys that it has */
  readonly rotations: readonly number[];
};

const peer = z.looseObject({ name: z.string(), subnet: z.string() });

/** undefined for one that is not usable: the registry tells of it again, and the others must not go with it */
function rememberedPeer(plan: Pick<Place, 'range' | 'unit'>, told: z.output<typeof peer>): MeshPeer | undefined {
  const { name, subnet, ...published } = told;
  try {
    const prefix = parsePrefix(subnet);
    assertSubnet(plan, prefix);
    // whether it is depends on the links that there are, and is found out when it starts
    return readPeer(name, prefix, published, () => false);
  } catch {
    return undefined;
  }
}

const schema = z.object({
  identity: z.uuid(),
  place: z
    .object({
      clusterId: z.uuid(),
      name: z.string(),
      subnet: z.string().transform((text) => parsePrefix(text)),
      range: z.string().transform((text) => parsePrefix(text)),
      unit: z.int(),
      peers: z.array(peer),
      epoch: z.string().transform((text) => readEpoch(text)),
      rotations: z.array(z.int().min(0)).min(1),
    })
    .transform(({ peers, ...place }) => ({ ...place, peers: peers.flatMap((one) => rememberedPeer(place, one) ?? []) }))
    .optional(),
});

/**
 * A host's subnet is of the cluster's range, and of whole units: nothing else is a way to it.
 *
 * @throws InputError `invalid_range`, `invalid_subnet_size`
 */
export function assertSubnet(plan: Pick<Place, 'range' | 'unit'>, subnet: Prefix): void {
  firstUnit(plan, subnet);
  unitsOf(plan, subnet.length);
}

function fileIn(stateDir: string): string {
  return join(stateDir, 'cluster.json');
}

/** @throws CulvertError `cluster_file` where it cannot be read: without it the host would be another one */
export function readSeat(stateDir: string): Seat | undefined {
  const file = fileIn(stateDir);
  try {
    const text = readFileIfThere(file);
    if (text === undefined) return undefined;
    const { identity, place } = schema.parse(JSON.parse(text));
    return { identity, ...(place === undefined ? {} : { place }) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `Cannot read ${file}, which says what host of what cluster this is: ${why}; put it back as it was`;
    throw new CulvertError('cluster_file', message, { cause });
  }
}

/** A host that was in no cluster yet. @throws CulvertError `cluster_file` */
export function newSeat(stateDir: string): Seat {
  const seat = { identity: randomUUID() };
  writeSeat(stateDir, seat);
  return seat;
}

/** @throws CulvertError `cluster_file` */
export function writeSeat(stateDir: string, { identity, place }: Seat): void {
  const written = place && {
    ...place,
    subnet: formatPrefix(place.subnet),
    range: formatPrefix(place.range),
    epoch: writeEpoch(place.epoch),
    // what else a peer tells is of no use with the registry away
    peers: place.peers.map(({ name, subnet, address, clearPort, keys }) => ({
      name,
      subnet: formatPrefix(subnet),
      ...writePublished({ address, clearPort, keys, mtu: LEAST_MTU, isDraining: false }),
    })),
  };
  const file = fileIn(stateDir);
  try {
    writeWholeFile(file, `${JSON.stringify({ identity, place: written }, undefined, 1)}\n`);
  } catch (cause) {
    const why = String((cause as NodeJS.ErrnoException).code ?? cause);
    throw new CulvertError('cluster_file', `Cannot write ${file}: ${why}`, { cause });
  }
}
