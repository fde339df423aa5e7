"""One head of causal attention as loops in Python. q, k, v, g: T rows of D numbers."""

from math import exp, sqrt


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def weights(query, keys):
    """e^s / Σ e^s, s_j = q · k_j / √D; less the maximum, so that no e^s overflows."""
    s = [dot(query, key) / sqrt(len(query)) for key in keys]
    top = max(s)
    e = [exp(x - top) for x in s]
    z = sum(e)
    return [x / z for x in e]


def forward(q, k, v):
    """y_i = Σ_j p_ij v_j. Query i sees the keys j <= i."""
    T, D = len(q), len(q[0])
    y = [[0.0] * D for _ in range(T)]
    for i in range(T):
        p = weights(q[i], k[: i + 1])
        for j in range(i + 1):
            for c in range(D):
                y[i][c] += p[j] * v[j][c]
    return y


def backward(q, k, v, g):
    T, D = len(q), len(q[0])
    gq, gk, gv = ([[0.0] * D for _ in range(T)] for _ in range(3))
    for i in range(T):
        p = weights(q[i], k[: i + 1])
        gp = [dot(g[i], v[j]) for j in range(i + 1)]
        delta = dot(p, gp)
        for j in range(i + 1):
            gs = p[j] * (gp[j] - delta) / sqrt(D)
            for c in range(D):
                gq[i][c] += gs * k[j][c]
                gk[j][c] += gs * q[i][c]
                gv[j][c] += p[j] * g[i][c]
    return gq, gk, gv
