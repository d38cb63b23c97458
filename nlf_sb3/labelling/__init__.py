"""Steps that make labelled rows of infos, remarks, an expert's answers, demonstrations and labels of earlier rollouts."""
