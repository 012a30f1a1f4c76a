"""People cut out of videos: frames with times, tracks, and a folder of crops."""
