"""What is shown: plots, explorers for JupyterLab, and the report. The only floor that draws."""
