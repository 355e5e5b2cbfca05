import { Cni } from '../contestants/cni.ts';
import { race } from '../contestants/creator.ts';
import { Culvert } from '../contestants/culvert.ts';
import { ExecAgent } from '../contestants/exec-agent.ts';
import { KernelLimit } from '../contestants/kernel-limit.ts';
import type { Figure } from '../figure.ts';
import type { Row } from '../row.ts';
import { assertSameObjects } from '../same-objects.ts';
import { mean, median, medianRatio } from '../statistics.ts';

/** What the rate must be at least, as a multiple of the others'. */
const TARGETS: Readonly<Record<string, number>> = { 'exec agent': 20, 'CNI ptp': 20, 'kernel limit': 0.8 };

/** Rates of creating networks that nobody has prepared, side by side with everybody else who makes them. */
export const cold: Row = {
  name: 'cold',
  summary: 'cold create of microvm networks, against agents that execute programs and against the kernel',
  async run({ stage, scale, profile }) {
    using culvert = await Culvert.start(stage);
    const { mtu } = await culvert.client.status();
    using kernel = new KernelLimit(stage, { mtu });
    await assertSameObjects(culvert, kernel);
    await culvert.practise(scale.practice);
    using agent = new ExecAgent();
    using cni = new Cni(stage);
    const others = [agent, cni, kernel];
    const course = { around: scale.some, rounds: scale.rounds, perRound: scale.perRound };
    const [ours = [], ...theirs] = await race([culvert, ...others], course);
    profile({
      of: `a cold create, microvm, at ${scale.some} live`,
      unit: 'µs',
      elapsed: mean(ours),
      threads: culvert.spent.times(1000 / (scale.rounds * scale.perRound)),
    });
    return others.map(({ name }, index): Figure => {
      const costs = theirs[index] ?? [];
      return {
        figure: `cold create, microvm, at ${scale.some} live`,
        value: 1e6 / median(ours),
        unit: '/s',
        reference: { name, value: 1e6 / median(costs) },
        ratio: medianRatio(costs, ours),
        target: { of: 'ratio', is: 'at least', bound: TARGETS[name] ?? 1 },
      };
    });
  },
};
