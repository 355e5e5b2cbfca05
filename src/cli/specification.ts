import { type Command, Option } from 'commander';
import type { CreateBody, SandboxResource } from '../api/client/client.ts';
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
};

type Rates = NonNullable<CreateBody['rates']>;
type Rate = NonNullable<Rates['transmit']>;

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
    .option('--deny <cidr>', 'a prefix that it may not reach, likewise; the longest prefix wins', collect);
}

/** @param former the limits that stand where an option says nothing */
export function ratesOf(options: SpecificationOptions, former: Rates = {}): Rates {
  const transmit = rateOf('tx', options.txRate, options.txBurst, former.transmit);
  const receive = rateOf('rx', options.rxRate, options.rxBurst, former.receive);
  return { ...(transmit && { transmit }), ...(receive && { receive }) };
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

function rateOf(
  way: 'tx' | 'rx',
  rate: number | false | undefined,
  burst: number | undefined,
  former: Rate | undefined,
): Rate | undefined {
  if (rate === false || (rate === undefined && former === undefined)) {
    if (burst === undefined) return undefined;
    throw new InputError('usage', `Cannot use --${way}-burst without --${way}-rate: a burst is of a rate`);
  }
  if (rate === undefined) return burst === undefined ? former : { rate: (former as Rate).rate, burst };
  return burst === undefined ? { rate } : { rate, burst };
}

function collect(text: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), text];
}
