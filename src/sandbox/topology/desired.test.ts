import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { diff } from '../../plan/diff.ts';
import { objectKey } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { bridgeItself } from './bridge.ts';
import { desired, type Network } from './desired.ts';
import { DEFAULT_LAYOUT } from './layout.ts';

const layout = { ...DEFAULT_LAYOUT, mtu: 1420 };
const rates = { transmit: { rate: 200_000_000, burst: 100_000_000 }, receive: { rate: 1_000_000, burst: 65_536 } };
const networks: Network[] = [
  { topology: 'microvm', slot: 12, rates },
  { topology: 'netns', slot: 32_767, rates },
  { topology: 'bridge', slot: 3, rates, address: parseIpv4('10.8.64.7') },
];

describe.each(networks)('a $topology network', (network) => {
  const objects = desired(network, layout);

  it('is made as written down', async () => {
    await expect(`${planText(diff([], objects))}\n`).toMatchFileSnapshot(`./golden/${network.topology}.create.txt`);
  });

  it('is removed as written down', async () => {
    await expect(`${planText(diff(objects, []))}\n`).toMatchFileSnapshot(`./golden/${network.topology}.remove.txt`);
  });

  it('needs no step when it is there', () => {
    expect(diff(objects, desired(network, layout))).toEqual([]);
  });

  it('describes no object twice', () => {
    expect(new Set(objects.map(objectKey)).size).toBe(objects.length);
  });

  it('changes only the links when the MTU changes', () => {
    const plan = diff(objects, desired(network, { ...layout, mtu: 1400 }));
    expect(plan.length).toBeGreaterThan(0);
    for (const step of plan)
      expect([step.verb, step.object.kind]).toEqual(['change', expect.stringMatching(/veth|tap/)]);
  });
});

it('makes the bridge as written down', async () => {
  await expect(`${planText(diff([], bridgeItself(layout)))}\n`).toMatchFileSnapshot('./golden/bridge.txt');
});
