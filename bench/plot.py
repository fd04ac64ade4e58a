"""Small plots as SVG: lines over a logarithmic or even axis, readable in light and dark.

    plot.write(path, title, x_label, y_label, {"series": [(x, y), ...]}, log_x=True)
"""
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 170, 40, 56
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"]


def short(value):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return "%g%s" % (round(value / size, 2), unit)
    return "%g" % round(value, 2)


def steps(top):
    """About five round steps from zero to at least top."""
    raw = top / 5 or 1
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * f for f in (1, 2, 2.5, 5, 10) if size * f >= raw)
    return [step * i for i in range(int(math.ceil(top / step)) + 1)]


def write(path, title, x_label, y_label, series, log_x=False):
    xs = [x for points in series.values() for x, _ in points]
    ys = steps(max(y for points in series.values() for _, y in points) * 1.05)
    scale = math.log10 if log_x else float
    low, high = scale(min(xs)), scale(max(xs))

    def at_x(x):
        return LEFT + (scale(x) - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def at_y(y):
        return HEIGHT - BOTTOM - y / ys[-1] * (HEIGHT - TOP - BOTTOM)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">' % (WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           '<text x="%d" y="22" font-size="15" fill="#222222">%s</text>' % (LEFT, title)]
    for y in ys:
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#dddddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#444444">%s</text>'
                   % (LEFT, WIDTH - RIGHT, at_y(y), at_y(y), LEFT - 8, at_y(y) + 4, short(y)))
    ticks = [10 ** e for e in range(math.ceil(low), math.floor(high) + 1)] if log_x else sorted(set(xs))
    for x in ticks or sorted(set(xs)):
        out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#bbbbbb"/><text x="%.1f" y="%d" text-anchor="middle" fill="#444444">%s</text>'
                   % (at_x(x), at_x(x), HEIGHT - BOTTOM, HEIGHT - BOTTOM + 5, at_x(x), HEIGHT - BOTTOM + 20, short(x)))
    out.append('<text x="%.1f" y="%d" text-anchor="middle" fill="#222222">%s</text>' % ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_label))
    out.append('<text transform="translate(18 %.1f) rotate(-90)" text-anchor="middle" fill="#222222">%s</text>' % (HEIGHT / 2, y_label))
    for i, (name, points) in enumerate(series.items()):
        colour, points = COLOURS[i % len(COLOURS)], sorted(points)
        out.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>'
                   % (colour, " ".join("%.1f,%.1f" % (at_x(x), at_y(y)) for x, y in points)))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (at_x(x), at_y(y), colour) for x, y in points]
        out.append('<text x="%d" y="%d" fill="%s">%s</text>' % (WIDTH - RIGHT + 14, TOP + 18 * (i + 1), colour, name))
    with open(path, "w") as file:
        file.write("\n".join(out + ["</svg>", ""]))
