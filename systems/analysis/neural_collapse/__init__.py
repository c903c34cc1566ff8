"""15. Neural Collapse in Deep Linear Networks (2023): the last layers' geometry in closed form, and measured.

ICML 2023; github.com/Fsoft-AIC/Neural-Collapse-in-Deep-Linear-Networks. Checked against card 15, which was checked
against that repository's synthetic experiments, imbalanced validation and MLP.
Features taken as free variables, with M linear layers behind them, have known global minimisers: features of a class
fall together, class means and weights form a frame whose lengths follow from the class sizes, and a class that is too
small is dropped. A solver gives the lengths, descent on features and weights finds them, and the tails of trained
networks are held against them.
Approximated: nothing of the theory; networks are small, trained on 1,200 pictures of Fashion-MNIST, by an Adam that
forgets squared gradients sooner than usual (0.99 for 0.999).
To expect: descent reaches the predicted loss to 6 digits, networks come within 0.1 of the predicted frame. 12 minutes.

    python -m stages train neural_collapse
"""
