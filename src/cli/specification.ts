import { type Command, InvalidArgumentError, Option } from 'commander';
import { parsePrefix } from '../addr/prefix.ts';
import type { ChangeBody, CreateBody, SandboxResource } from '../api/client/client.ts';
import { InputError } from '../errors.ts';
import { BYTES_WORDS, formatBytes, parseBytes, parseRate, RATE_WORDS } from './units.ts';

/** The options that say what a sandbox may reach and how fast; false where one was taken back with `--no-…`. */
export type SpecificationOptions = {
  readonly txRate?: number | false;
  readonly txBurst?: number;
  readonly rxRate?: number | false;
  readonly rxBurst?: number;
  readonly egress?: 'open' | 'internet' | 'none';
  readonly allow?: string[] | false;
  readonly deny?: string[] | false;
  readonly group?: string | false;
};

type Rates = NonNullable<CreateBody['rates']>;
type Rate = NonNullable<Rates['transmit']>;
type RatesChange = NonNullable<ChangeBody['rates']>;
type RateChange = NonNullable<RatesChange['transmit']>;

export function addSpecificationOptions(command: Command): Command {
  return command
    .option('--tx-rate <rate>', `limit of what it sends, ${RATE_WORDS}`, parseRate)
    .option(
      '--tx-burst <bytes>',
      `what it may send at once, ${BYTES_WORDS}; half a second of the rate by default`,
      parseBytes,
    )
    .option('--rx-rate <rate>', 'limit of what it gets, likewise', parseRate)
    .option('--rx-burst <bytes>', 'what it may get at once, likewise', parseBytes)
    .addOption(
      new Option('--egress <what>', 'what it may reach: all, public addresses only, nothing').choices([
        'open',
        'internet',
        'none',
      ]),
    )
    .option('--allow <cidr>', 'a prefix that it may reach all the same; may be repeated', collect)
    .option('--deny <cidr>', 'a prefix that it may not reach, likewise; the longest prefix wins', collect)
    .option('--group <name>', 'a private group: those in it reach each other, and nobody else does');
}

export function ratesOf({ txRate, txBurst, rxRate, rxBurst }: SpecificationOptions): Rates {
  const transmit = rateOf('tx', txRate, txBurst);
  const receive = rateOf('rx', rxRate, rxBurst);
  return { ...(transmit && { transmit }), ...(receive && { receive }) };
}

/** A limit that is given without a burst has the burst that follows from it, not the one that another had. */
export function ratesChangeOf({ txRate, txBurst, rxRate, rxBurst }: SpecificationOptions): RatesChange {
  const transmit = rateChangeOf('tx', txRate, txBurst);
  const receive = rateChangeOf('rx', rxRate, rxBurst);
  return { ...(transmit !== undefined && { transmit }), ...(receive !== undefined && { receive }) };
}

export function saysRates({ txRate, txBurst, rxRate, rxBurst }: SpecificationOptions): boolean {
  return [txRate, txBurst, rxRate, rxBurst].some((value) => value !== undefined);
}

export function saysPolicy({ egress, allow, deny }: SpecificationOptions): boolean {
  return [egress, allow, deny].some((value) => value !== undefined);
}

/** `200 MB/s` or, for a burst that does not follow from the rate, `200 MB/s, burst 1 MB`. */
export function rateText(rate: SandboxResource['rates']['transmit']): string {
  if (rate === undefined) return '-';
  const burst = rate.burst === Math.floor(rate.rate / 2) ? '' : `, burst ${formatBytes(rate.burst)}`;
  return `${formatBytes(rate.rate)}/s${burst}`;
}

/** `internet +10.1.0.0/16 -192.0.2.0/24` */
export function policyText({ egress, allow, deny }: SandboxResource['policy']): string {
  return [egress, ...allow.map((prefix) => `+${prefix}`), ...deny.map((prefix) => `-${prefix}`)].join(' ');
}

type Limit = number | false | undefined;

function rateOf(way: 'tx' | 'rx', rate: Limit, burst: number | undefined): Rate | undefined {
  if (typeof rate === 'number') return burst === undefined ? { rate } : { rate, burst };
  if (burst !== undefined) throw lonelyBurst(way);
  return undefined;
}

function rateChangeOf(way: 'tx' | 'rx', rate: Limit, burst: number | undefined): RateChange | null | undefined {
  if (typeof rate === 'number') return { rate, burst: burst ?? null };
  if (rate === undefined) return burst === undefined ? undefined : { burst };
  if (burst !== undefined) throw lonelyBurst(way);
  return null;
}

function lonelyBurst(way: 'tx' | 'rx'): InputError {
  return new InputError('usage', `Cannot use --${way}-burst without --${way}-rate: a burst is of a rate`);
}

/** Read here already: what the daemon says of a field does not say of which option. */
function collect(text: string, earlier: string[] | undefined): string[] {
  try {
    parsePrefix(text);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InvalidArgumentError(error.message);
  }
  return [...(earlier ?? []), text];
}
