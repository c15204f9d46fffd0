"""Phase diagrams of stochastic gradient descent: train, measure, fit, judge, draw."""
