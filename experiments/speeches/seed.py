"""The numbers that seed 003 reports, from its tables and text."""

from __future__ import annotations

# Table 1, epoch by epoch: training loss, running training accuracy and test accuracy in percent.
TABLE_1 = (
    (1.0675, 44.16, 33.33), (0.8871, 56.5, 56.8), (0.6416, 67.39, 60.5333), (0.4798, 77.62, 78.4),
    (0.2738, 89.77, 84.4), (0.161, 94.78, 85.4666), (0.0928, 97.08, 84.9333),
    (0.0539, 98.47, 86.6666), (0.0414, 98.94, 87.0666), (0.0331, 99.09, 87.1333),
    (0.0134, 99.61, 87.7333), (0.0186, 99.37, 87.2), (0.0364, 99.04, 86.4),
    (0.0226, 99.23, 87.8666), (0.0144, 99.66, 87.8),
)  # fmt: skip

# Tables 2 and 3, by the width of the feed-forward part, at iterations 100 ... 500: perplexity on
# the training text, Obama, H. Bush, W. Bush.
TABLES_2_3 = {
    256: ((575.3088, 693.105, 721.7043, 808.4219), (382.8657, 516.2067, 549.1379, 621.8051),
          (266.1291, 417.7356, 458.2095, 525.0245), (197.3809, 363.0804, 430.3409, 483.0418),
          (154.2479, 348.0284, 408.274, 478.0699)),
    100: ((585.1399, 715.4691, 748.9787, 829.4408), (440.6043, 584.6114, 611.2496, 693.2736),
          (318.3407, 472.2497, 497.7435, 574.2589), (228.9188, 410.3708, 444.9504, 513.491),
          (180.8624, 382.8425, 417.144, 490.9431)),
}  # fmt: skip

# Tables 4 and 5: seconds of five trainings with learned positions, and with ALiBi.
SECONDS = {
    "classifier": ((24.0387, 27.6852, 24.3258, 25.078, 25.4255),
                   (20.9462, 22.3246, 21.6692, 22.7474, 21.1484)),
    "language model": ((35.3216, 34.9233, 36.0709, 35.7318, 36.2602),
                       (32.5361, 30.6604, 29.9158, 32.7269, 31.8983)),
}  # fmt: skip

BEST_REGULARIZED = 89.67  # section 3.2: test accuracy with batch norm and a dropout of .2
