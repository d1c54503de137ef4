/** What a PromQL expression asks for, by the grammar that Prometheus' own console uses. */

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[];
}

export interface Asked {
  readonly selectors: readonly Selector[];
  /** Of by(…), without(…), on(…). */
  readonly groupedBy: readonly string[];
}

interface Node {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** As `@prometheus-io/lezer-promql` exports it. */
export interface PromqlPackage {
  readonly parser: { parse(text: string): { iterate(o: { enter(node: Node): boolean | undefined }): void } };
}

/** Errors: an expression that is not PromQL. */
export function readPromql({ parser }: PromqlPackage, expression: string): Asked {
  const selectors: { metric: string; matchers: { label: string; operator: string; value: string }[] }[] = [];
  const groupedBy: string[] = [];
  const textOf = ({ from, to }: Node) => expression.slice(from, to);
  parser.parse(expression).iterate({
    enter(node) {
      if (node.name === '⚠') throw new Error(`not PromQL: ${expression} (at ${node.from})`);
      if (node.name === 'VectorSelector') selectors.push({ metric: '', matchers: [] });
      const selector = selectors.at(-1);
      if (node.name === 'Identifier' && selector !== undefined) selector.metric = textOf(node);
      if (node.name === 'UnquotedLabelMatcher') {
        const [, label = '', operator = '', value = ''] = /^(\w+)\s*(=~|!~|!=|=)\s*"(.*)"$/.exec(textOf(node)) ?? [];
        selector?.matchers.push({ label, operator, value });
        return false;
      }
      if (node.name === 'GroupingLabels') {
        groupedBy.push(...(textOf(node).match(/\w+/g) ?? []));
        return false;
      }
      return undefined;
    },
  });
  return { selectors, groupedBy };
}
