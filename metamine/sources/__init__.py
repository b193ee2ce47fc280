"""Where tasks come from: folders of tables, tables that packages ship, synthetic priors."""
