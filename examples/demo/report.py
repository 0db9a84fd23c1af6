# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: the table of calls, the ladder of one, the line of JSON."""

import math


def percentile(values, share):
    """The nearest-rank percentile, or None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def rounded(value, digits=1):
    return None if value is None else round(value, digits)


def table(rows, columns, limit):
    """Rows of text in columns; of more than limit, the first ones."""
    shown = [columns] + [[str(cell) for cell in row] for row in rows[:limit]]
    widths = [max(len(row[i]) for row in shown) for i in range(len(columns))]
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in shown]
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    if len(rows) > limit:
        lines.append(f"  ... and {len(rows) - limit} more")
    return lines


def ladder(messages, names):
    """The messages of one call between the machines of names: {address: name}, in that order."""
    seen = {m.source[0] for m in messages} | {m.destination[0] for m in messages}
    lanes = [address for address in names if address in seen]
    width = 19
    lines = ["           " + "".join(names[address].center(width) for address in lanes)]
    start, previous = messages[0].time, None
    for message in messages:
        if previous is not None and message.time - previous > 1.0:
            lines.append("           " + "".join(":".center(width) for _ in lanes))
        previous = message.time
        at, to = lanes.index(message.source[0]), lanes.index(message.destination[0])
        left, right = min(at, to), max(at, to)
        row = ["|".center(width) for _ in lanes]
        text = "".join(row)
        begin, end = left * width + width // 2 + 1, right * width + width // 2
        label = f" {_label(message)} ".center(end - begin - 1, "-")
        arrow = (label + ">" if at < to else "<" + label)[:end - begin]
        text = text[:begin] + arrow + text[end:]
        lines.append(f"{message.time - start:9.3f}  " + text.rstrip())
    return lines


def _label(message):
    if message.is_request:
        again = message.method == "INVITE" and message.tag("to")
        return ("re-" if again else "") + f"{message.method} {message.cseq[0]}"
    return f"{message.status} {message.method}"
