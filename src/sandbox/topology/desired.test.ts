import { describe, expect, it } from 'vitest';
import { NETWORKS } from '../../../lab/networks.ts';
import { diff } from '../../plan/diff.ts';
import { objectKey } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { bridgeItself } from './bridge.ts';
import { desired } from './desired.ts';
import { DEFAULT_LAYOUT } from './layout.ts';

const layout = { ...DEFAULT_LAYOUT, mtu: 1420 };

const named = [
  ...NETWORKS.map((network) => ({ name: network.topology as string, network })),
  ...NETWORKS.map((network) => ({
    name: `${network.topology}-tunnel`,
    network: { ...network, hasTunnel: true as const },
  })),
];

describe.each(named)('a $name network', ({ name, network }) => {
  const objects = desired(network, layout);

  it('is made as written down', async () => {
    await expect(`${planText(diff([], objects))}\n`).toMatchFileSnapshot(`./golden/${name}.create.txt`);
  });

  it('is removed as written down', async () => {
    await expect(`${planText(diff(objects, []))}\n`).toMatchFileSnapshot(`./golden/${name}.remove.txt`);
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
