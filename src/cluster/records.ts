import { z } from 'zod';
import { formatIpv4, type Ipv4, LEAST_MTU, parseIpv4 } from '../addr/ipv4.ts';
import { formatPrefix, type Prefix, parsePrefix } from '../addr/prefix.ts';
import { CulvertError } from '../errors.ts';

/* What stands in the registry, as JSON. `format` grows with each change that an older Culvert would misread. */

const FORMAT = 1;

/** Names in a {@link ProgressRecord}. */
const WAITS_MAX = 8;

const prefix = z.string().transform((text, ctx): Prefix => {
  try {
    return parsePrefix(text);
  } catch (error) {
    ctx.addIssue(error instanceof Error ? error.message : String(error));
    return z.NEVER;
  }
});

const generation = z.int().min(1).max(0xffffffff);

/** Of a host. */
export const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const cluster = z.object({
  /** tells it from every other, whatever etcd it is in */
  id: z.uuid(),
  range: prefix,
  unit: z.int(),
});

const host = z.object({
  /** of its state folder: another machine of the same name has another */
  identity: z.uuid(),
  generation,
  subnet: prefix,
  version: z.string().regex(/^[ -~]{0,64}$/, 'want up to 64 characters of ASCII'),
  /** what it tells the others, as the mesh reads it */
  published: z.unknown(),
});

/** Of a unit of the range. */
const claim = z.object({ host: z.string().regex(NAME), identity: z.uuid(), generation });

/** Of a host that is there. */
const session = z.object({
  generation,
  /** of one daemon from its start to its end */
  id: z.uuid(),
  /** of the run folder, which one daemon has at a time, in one life of one machine */
  place: z.string().max(64),
});

const address = z.string().transform((text, ctx): Ipv4 => {
  try {
    return parseIpv4(text);
  } catch (error) {
    ctx.addIssue(error instanceof Error ? error.message : String(error));
    return z.NEVER;
  }
});

/** Of a sandbox in a group. */
const member = z.object({ address, generation });

/** The steps of a change of the epoch, in order; `done` is between changes. */
export const PHASES = ['accept', 'send', 'drop', 'done'] as const;

export type Phase = (typeof PHASES)[number];

const number = z.int().min(0).max(0xffffffff);

const mtu = z.int().min(LEAST_MTU).max(65_535);

/** How all hosts are to send to each other; see `mesh/course.ts`. */
const epoch = z.object({
  number,
  phase: z.enum(PHASES),
  encrypts: z.boolean(),
  rotation: number,
  whenDown: z.enum(['wait', 'clear']),
  /** ms since the epoch of the clock of whoever did it: when the keys were made */
  rotatedWallMs: z.number(),
  /** bytes of the IP packets that sandboxes may send to those of other hosts; see `mesh/size.ts` */
  mtu,
  /** as it was before the change that is under way */
  formerMtu: mtu,
});

/** Of one host: the phase of the epoch that is behind it. */
const progress = z.object({
  number,
  reached: z.enum(PHASES),
  /** hosts that keep it from the next one, the first of them */
  waitsFor: z.array(z.string().max(63)).max(WAITS_MAX),
});

export type EpochRecord = z.output<typeof epoch>;
export type ProgressRecord = z.output<typeof progress>;
export type MemberRecord = z.output<typeof member>;
export type ClusterRecord = z.output<typeof cluster>;
export type HostRecord = z.output<typeof host>;
export type Claim = z.output<typeof claim>;
export type Session = z.output<typeof session>;

export const readCluster = (text: string): ClusterRecord => read('cluster', cluster, text);
export const readHost = (key: string, text: string): HostRecord => read(key, host, text);
export const readClaim = (key: string, text: string): Claim => read(key, claim, text);
export const readSession = (key: string, text: string): Session => read(key, session, text);

export const readEpoch = (text: string): EpochRecord => read('mesh/epoch', epoch, text);
export const readProgress = (key: string, text: string): ProgressRecord => read(key, progress, text);

export function writeEpoch(record: EpochRecord): string {
  return write(record);
}

export function writeProgress(record: ProgressRecord): string {
  return write({ ...record, waitsFor: record.waitsFor.slice(0, WAITS_MAX) });
}

export const readMember = (key: string, text: string): MemberRecord => read(key, member, text);

export function writeCluster({ range, ...record }: ClusterRecord): string {
  return write({ ...record, range: formatPrefix(range) });
}

export function writeHost({ subnet, ...record }: HostRecord): string {
  return write({ ...record, subnet: formatPrefix(subnet) });
}

export function writeClaim(record: Claim): string {
  return write(record);
}

export function writeSession(record: Session): string {
  return write(record);
}

export function writeMember({ address: at, ...record }: MemberRecord): string {
  return write({ ...record, address: formatIpv4(at) });
}

function write(record: object): string {
  return JSON.stringify({ format: FORMAT, ...record });
}

/** @throws CulvertError `registry_newer` where a newer Culvert wrote it; `registry_corrupt` */
function read<Schema extends z.ZodType>(key: string, schema: Schema, text: string): z.output<Schema> {
  const value = parse(key, text);
  const { format } = value;
  if (typeof format === 'number' && format > FORMAT) {
    const message = `Cannot read ${key} of the registry: a newer Culvert wrote it, in format ${format}; this one knows ${FORMAT}`;
    throw new CulvertError('registry_newer', message);
  }
  const result = schema.safeParse(value);
  if (format === FORMAT && result.success) return result.data;
  const issue = result.error?.issues[0];
  const why = issue === undefined ? `format is ${String(format)}` : `${issue.path.join('.')}: ${issue.message}`;
  throw new CulvertError('registry_corrupt', `Cannot read ${key} of the registry: ${why}`);
}

function parse(key: string, text: string): { format?: unknown } {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // told below, as everything else that is no record
  }
  throw new CulvertError('registry_corrupt', `Cannot read ${key} of the registry: it is no record`);
}
