import { expect, it } from 'vitest';
import { World } from '../../../lab/world.ts';
import { parsePrefix } from '../../addr/prefix.ts';
import { diff } from '../../plan/diff.ts';
import { ROUTER } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { listPolicyRules } from '../observe/rules.ts';
import type { PolicyRule } from './rule.ts';

const RULES: readonly PolicyRule[] = [
  { kind: 'rule', namespace: ROUTER, priority: 1000, iif: 'wd-test', table: 2_000_001 },
  { kind: 'rule', namespace: ROUTER, priority: 1001, iif: 'wd-test' },
  {
    kind: 'rule',
    namespace: ROUTER,
    priority: 1000,
    iif: 'eth0',
    from: parsePrefix('10.64.0.0/10'),
    to: parsePrefix('10.64.16.0/20'),
    table: 77,
  },
];

it('is what iproute2 sees and what is read back, and goes without the others', () => {
  using world = new World();
  const listed = (): PolicyRule[] => world.kernel.withSocket(ROUTER, (socket) => listPolicyRules(socket, ROUTER));
  const shown = (): unknown => world.ask(ROUTER, 'ip', '-j', '-N', 'rule', 'show');
  const before = shown();
  const plan = diff([], RULES);
  expect(planText(plan).split('\n')).toEqual([
    'ip -n router rule add priority 1000 iif wd-test lookup 2000001',
    'ip -n router rule add priority 1001 iif wd-test blackhole',
    'ip -n router rule add priority 1000 from 10.64.0.0/10 to 10.64.16.0/20 iif eth0 lookup 77',
  ]);
  world.kernel.apply(plan);
  expect(shown()).toMatchObject([
    { priority: 0 },
    { priority: 1000, iif: 'wd-test', table: '2000001' },
    { priority: 1000, iif: 'eth0', src: '10.64.0.0', srclen: 10, dst: '10.64.16.0', dstlen: 20, table: '77' },
    { priority: 1001, iif: 'wd-test', action: expect.stringMatching(/blackhole|6/) },
    { priority: 32_766 },
    { priority: 32_767 },
  ]);
  expect(listed()).toHaveLength(3);
  expect(listed()).toEqual(expect.arrayContaining([...RULES]));
  expect(diff(listed(), RULES)).toEqual([]);
  world.kernel.apply(diff(RULES, RULES.slice(1)));
  expect(listed()).toEqual(expect.arrayContaining(RULES.slice(1)));
  world.kernel.apply(diff(listed(), []));
  expect(shown()).toEqual(before);
});
