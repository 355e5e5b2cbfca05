import { growTo } from '../contestants/creator.ts';
import { Culvert } from '../contestants/culvert.ts';
import { KernelLimit } from '../contestants/kernel-limit.ts';
import { formatNumber } from '../figure.ts';
import type { Row } from '../row.ts';
import { until } from '../until.ts';

/** How much of the crowd is made to be removed. */
const SHARE = 5;
/** ids in one request */
const AT_ONCE = 20;
const CLEANUP_TIMEOUT_MS = 120_000;

/** How fast sandboxes are cut off, and how fast the kernel is rid of them. */
export const remove: Row = {
  name: 'remove',
  summary: 'removes accepted, and cleaned up after',
  async run({ stage, scale }) {
    using culvert = await Culvert.start(stage);
    const { client } = culvert;
    await growTo(culvert, scale.many / SHARE);
    const ids = (await client.list()).map(({ id }) => id);
    const begin = performance.now();
    for (let at = 0; at < ids.length; at += AT_ONCE) await client.remove(ids.slice(at, at + AT_ONCE));
    const acceptedMs = performance.now() - begin;
    await until('all is cleaned up', CLEANUP_TIMEOUT_MS, async () => (await client.status()).removing === 0);
    const cleanedMs = performance.now() - begin;
    const { mtu } = await client.status();
    await stage.cleanedUp();
    using kernel = new KernelLimit(stage, { mtu });
    await growTo(kernel, ids.length);
    const limit = await kernel.remove(ids.length);
    const rate = (ids.length * 1000) / cleanedMs;
    const of = `of ${formatNumber(ids.length)} microvm, ${AT_ONCE} a request`;
    const target = { of: 'value', is: 'at least', bound: 1000 } as const;
    return [
      { figure: `removes accepted, ${of}`, value: (ids.length * 1000) / acceptedMs, unit: '/s', target },
      { figure: `cleaned up, ${of}`, value: rate, unit: '/s', target },
      {
        figure: 'the same, against the kernel limit',
        value: rate,
        unit: '/s',
        reference: { name: kernel.name, value: limit },
        ratio: rate / limit,
      },
    ];
  },
};
