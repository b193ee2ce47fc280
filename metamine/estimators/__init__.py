"""Meta-trained learners as scikit-learn estimators, for one's own rows."""
