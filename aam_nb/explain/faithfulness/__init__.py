"""Can attributions be believed?"""
